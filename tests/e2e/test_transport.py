"""Agent to gateway over mutual TLS and with a bearer token: who is not known gets nothing in."""

from __future__ import annotations

import json
from types import SimpleNamespace

import grpc
import pytest
import trustme
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from e2e import collectors, otlp
from e2e.backends import Jaeger
from e2e.programs import until
from e2e.spans import Sender, finding

pytestmark = pytest.mark.e2e

TOKEN = "right-" + "x" * 32


@pytest.fixture
def files(tmp_path):
    """Certificates of the right authority and of another, and tokens, as PEM and text files."""
    made = SimpleNamespace()
    for name, authority in (("right", trustme.CA()), ("wrong", trustme.CA())):
        authority.cert_pem.write_to_path(tmp_path / f"{name}-ca.pem")
        own = authority.issue_cert("localhost", "127.0.0.1")
        own.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        own.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        (tmp_path / f"{name}.key").chmod(0o600)
        setattr(
            made,
            name,
            {
                "tls_ca": tmp_path / "right-ca.pem",
                "tls_cert": tmp_path / f"{name}.pem",
                "tls_key": tmp_path / f"{name}.key",
            },
        )
    for name, token in (("right", TOKEN), ("wrong", "wrong-" + "x" * 32)):
        (tmp_path / f"{name}.token").write_text(token)
        getattr(made, name)["token_file"] = tmp_path / f"{name}.token"
    (tmp_path / "rotated.token").write_text(f"older-{'y' * 32}\n{TOKEN}\n")
    made.gateway = {**made.right, "token_file": tmp_path / "rotated.token"}
    return made


def _agent(collector, folder, gateway, kind, files):
    return collectors.run(
        collector,
        "agent",
        folder,
        overlays=[f"overlays/{kind}-agent.yaml"],
        gateways=json.dumps([gateway.grpc]),
        findings_endpoint=gateway.findings,
        **files,
    )


def _refused(address: str, credentials: grpc.ChannelCredentials | None, metadata=()) -> grpc.StatusCode:
    """The status that the gateway's receiver gives to a request by hand."""
    channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
    body = trace_service_pb2.ExportTraceServiceRequest.FromString(
        otlp.request([otlp.span(0xBAD)], {"service.name": "bad"})
    )
    with channel:
        try:
            trace_service_pb2_grpc.TraceServiceStub(channel).Export(body, timeout=5, metadata=metadata)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


@pytest.mark.programs("collector", "jaeger")
@pytest.mark.parametrize("kind", ["mtls", "bearer"])
def test_only_a_known_agent_gets_anything_into_a_gateway(collector, jaeger, tmp_path, files, kind, started):
    backend = started(Jaeger(jaeger, tmp_path / "jaeger"))
    settings = {"backend": backend.otlp, "decision_wait": "1s", "keep": 100, **files.gateway}
    overlays = [f"overlays/{kind}-gateway.yaml"]
    gateway = started(collectors.run(collector, "gateway", tmp_path / "gateway", overlays=overlays, **settings))
    known = started(_agent(collector, tmp_path / "known", gateway, kind, files.right))
    stranger = started(_agent(collector, tmp_path / "stranger", gateway, kind, files.wrong))
    for service, agent in (("known", known), ("stranger", stranger)):
        with Sender(service, agent.grpc) as sender:
            sender.call(finding())
            sender.call()
    until(lambda: len(backend.find("known")) == 2, 30, "both traces of the known agent")

    root = files.right["tls_ca"].read_bytes()
    stolen = (files.wrong["tls_key"].read_bytes(), files.wrong["tls_cert"].read_bytes())
    for address in (gateway.grpc, gateway.findings):
        assert _refused(address, None) is grpc.StatusCode.UNAVAILABLE
        if kind == "mtls":
            assert _refused(address, grpc.ssl_channel_credentials(root)) is grpc.StatusCode.UNAVAILABLE
            assert _refused(address, grpc.ssl_channel_credentials(root, *stolen)) is grpc.StatusCode.UNAVAILABLE
        else:
            tls = grpc.ssl_channel_credentials(root)
            assert _refused(address, tls) is grpc.StatusCode.UNAUTHENTICATED
            for wrong in ("Bearer nonsense", f"Bearer {TOKEN}x", TOKEN[:-1], "Bearer "):
                assert _refused(address, tls, [("authorization", wrong)]) is grpc.StatusCode.UNAUTHENTICATED
            assert _refused(address, tls, [("authorization", f"Bearer {TOKEN}")]) is grpc.StatusCode.OK
    expected = {"known", "bad"} if kind == "bearer" else {"known"}
    until(lambda: expected <= set(backend.services()), 30, "what the right token brought")
    assert set(backend.services()) - {"jaeger"} == expected
    assert TOKEN not in gateway.process.log() + known.process.log() + stranger.process.log()


@pytest.mark.programs("collector")
def test_the_wrong_token_in_an_agent_is_counted_as_a_failure_there(collector, tmp_path, files, started):
    overlays = ["overlays/bearer-gateway.yaml"]
    gateway = started(collectors.run(collector, "gateway", tmp_path / "gateway", overlays=overlays, **files.gateway))
    stranger = started(_agent(collector, tmp_path / "stranger", gateway, "bearer", files.wrong))
    with Sender("stranger", stranger.grpc) as sender:
        sender.call(finding())
    until(
        lambda: "otelcol_exporter_send_failed_spans{" in stranger.own_metrics(),
        20,
        "the failure in the agent's metrics, which the alert on lost spans reads",
    )
