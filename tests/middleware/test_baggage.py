"""Baggage names the actor only where it comes from a trusted caller, within bounds, and is sent only by choice."""

from __future__ import annotations

import pytest
from opentelemetry import baggage as otel_baggage
from opentelemetry import context as otel_context
from opentelemetry import propagate

from cylestio_monitor import ASGIMiddleware, Identity, config, identify, identity_baggage
from cylestio_monitor.identity import current
from cylestio_monitor.middleware.baggage import MAX_CHARACTERS, MAX_ROLES, is_trusted, received
from middleware.apps.identified import identify_request, who
from middleware.conftest import ask, served


def sent(**names):
    """The header that a request of this identity carries."""
    headers = {}
    with identify(**names), identity_baggage():
        propagate.inject(headers)
    return headers.get("baggage", "")


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": who("view").encode()})


ADA = {"user_id": "ada@example.org", "session_id": "s 1", "roles": ("admin", "a,b ;=%", "größe")}


def test_the_identity_arrives_at_the_next_service(callers):
    callers("127.0.0.0/8")
    with served(ASGIMiddleware(app, lambda _: None)) as port:
        (line,) = ask(port, "/", baggage=sent(**ADA, agent_id="front"))
    assert line == ["view", "ada@example.org", list(ADA["roles"]), "s 1", None]


@pytest.mark.parametrize("trusted", [(), ("10.0.0.0/8",), ("unix",), ("::1",)])
def test_baggage_of_anybody_else_names_nobody(callers, trusted):
    callers(*trusted)
    with served(ASGIMiddleware(app, lambda _: None)) as port:
        assert ask(port, "/", baggage=sent(**ADA)) == [["view", None, [], None, None]]


def test_the_application_wins_and_users_do_not_get_the_roles_of_others(callers):
    callers("127.0.0.1")
    with served(ASGIMiddleware(app, identify_request)) as port:
        header = sent(**ADA)
        assert ask(port, "/", x_user="bob", baggage=header) == [["view", "bob", [], "s 1", None]]
        assert ask(port, "/", x_user="bob", x_session="t", baggage=header) == [["view", "bob", [], "t", None]]
        # Where the application cannot tell, nobody else tells in its place.
        assert ask(port, "/", x_fails="1", baggage=header) == [["view", None, [], None, None]]


def test_nothing_is_read_while_monitoring_is_off():
    assert received(sent(**ADA), "127.0.0.1") is None


def test_nothing_leaves_without_the_block():
    headers = {}
    with identify(**ADA):
        propagate.inject(headers)
    assert "baggage" not in headers


def test_the_block_replaces_what_an_outer_one_said_and_keeps_other_baggage():
    token = otel_context.attach(otel_baggage.set_baggage("tenant", "7"))
    try:
        with identify(**ADA), identity_baggage():
            with identify(user_id="bob", roles=()), identity_baggage():
                inner = otel_baggage.get_all()
            outer = otel_baggage.get_all()
        assert otel_baggage.get_all() == {"tenant": "7"}
    finally:
        otel_context.detach(token)
    assert inner == {"tenant": "7", "enduser.id": "bob", "cylestio.session.id": "s 1"}
    assert outer["enduser.id"] == "ada@example.org"


@pytest.mark.parametrize(
    ("client", "trusted", "expected"),
    [
        ("127.0.0.1", ("127.0.0.1",), True),
        ("127.0.0.1", ("127.0.0.2", "127.0.0.0/30"), True),
        ("10.1.2.3", ("10.0.0.0/8",), True),
        ("11.1.2.3", ("10.0.0.0/8",), False),
        ("::ffff:10.1.2.3", ("10.0.0.0/8",), True),
        ("fe80::1%eth0", ("fe80::/10",), True),
        ("::1", ("127.0.0.1",), False),
        (None, ("unix",), True),
        ("", ("unix",), True),
        (None, ("0.0.0.0/0",), False),
        ("testclient", ("0.0.0.0/0", "unix"), False),
        ("10.0.0.1, 10.0.0.2", ("10.0.0.0/8",), False),
    ],
)
def test_trust_is_by_the_address_of_the_connection(client, trusted, expected):
    assert is_trusted(client, trusted) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("enduser.id=ada", Identity(user_id="ada")),
        ("enduser.id=a%0d%0aX-Evil:%20b", Identity(user_id="a X-Evil: b")),
        (f"enduser.id={'a' * MAX_CHARACTERS}", Identity(user_id="a" * MAX_CHARACTERS)),
        (f"enduser.id={'a' * (MAX_CHARACTERS + 1)},cylestio.session.id=s", Identity(session_id="s")),
        ("enduser.id=%20%20", Identity()),
        ("enduser.id=,cylestio.user.roles=,", Identity()),
        ("cylestio.user.roles=a%2C%2Cb", Identity(roles=("a", "b"))),
        (
            "cylestio.user.roles=" + "%2C".join(f"r{number}" for number in range(100)),
            Identity(roles=tuple(f"r{number}" for number in range(MAX_ROLES))),
        ),
        ("cylestio.agent.id=other", None),
        ("x=1", None),
        ("enduser.id=a," + "x=1," * 3000, None),
        ("", None),
    ],
)
def test_what_arrives_is_bounded_and_cleaned(callers, header, expected):
    callers("unix")
    assert received(header, None) == expected


@pytest.mark.parametrize("entry", ["localhost", "10.0.0.0/33", "", "*"])
def test_an_entry_that_no_caller_matches_is_reported(entry):
    loaded = config.load({}, overrides={"identity": {"trusted_callers": [entry, "10.0.0.0/8", "unix"]}})
    (problem,) = loaded.problems
    assert problem.key == "identity.trusted_callers[0]"
    assert loaded.settings.identity.trusted_callers == ("10.0.0.0/8", "unix")


def test_outside_of_a_request_nobody_is_known():
    assert current() == Identity()
