"""Names of settings and variables: earlier names, unknown names, and the names that an author may have meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor.config.locations import CONFIG_VARIABLE
from cylestio_monitor.config.settings import options
from cylestio_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALIASES: Final = {
    "security.suspicious_keywords": "keywords.suspicious",
    "security.dangerous_keywords": "keywords.dangerous",
}
"""Keys of earlier releases and the settings that they set."""

OTHER_VARIABLES: Final = frozenset(
    f"CYLESTIO_{name}"
    for name in (
        # The key of an encrypted store.
        "STORE_KEY",
        # The collector configuration, the dashboards and the programs of the documentation.
        *("BACKEND", "BACKEND_AUTH", "BACKEND_INSECURE", "BACKEND_URL", "DECISION_WAIT", "FINDINGS_ENDPOINT"),
        *("GATEWAYS", "GATEWAY_SERVICE", "HEALTH", "JAEGER_HEALTH", "JAEGER_QUERY", "JAEGER_QUERY_GRPC"),
        *("JAEGER_URL", "KAFKA_BROKERS", "KEEP", "MAX_SERIES", "MEMORY_MIB"),
        *("METRICS_INTERVAL", "OTLP_FINDINGS", "OTLP_GRPC", "OTLP_HTTP", "PARTS", "PROMETHEUS", "PROMETHEUS_URL"),
        *("QUEUE_REQUESTS", "REMOTE_WRITE", "STORAGE", "TELEMETRY_HOST", "TELEMETRY_PORT", "TEMPO_URL", "TLS_CA"),
        *("TLS_CERT", "TLS_KEY", "TOKEN_FILE", "TOOLS", "TRACES_IN_MEMORY"),
    )
)
"""Variables with our prefix that are no settings."""

_PREFIX: Final = "CYLESTIO_"


def canonical(tree: Mapping[Any, Any]) -> dict[Any, Any]:
    """Returns the tree with the values of earlier keys at their present places; lists are joined.

    Unknown keys of the earlier section move to the top level under their whole name, where they are reported.
    """
    result = dict(tree)
    if not isinstance(result.get("security"), dict):
        return result
    for name, value in result.pop("security").items():
        old = f"security.{name}"
        if old not in ALIASES:
            result[old] = value
            continue
        parent, child = ALIASES[old].split(".")
        section = result.get(parent)
        section = dict(section) if isinstance(section, dict) else {}
        present = section.get(child)
        if isinstance(present, list) and isinstance(value, list):
            section[child] = [*present, *value]
        else:
            section[child] = value
        result[parent] = section
    return result


def did_you_mean(key: str, known: Sequence[str] | None = None) -> str:
    """Returns the end of a message that names the key which comes closest; empty where none does.

    Args:
        key: The unknown dotted key.
        known: The keys that are possible; all settings without it.
    """
    text = key.lower()[:120]
    candidates = list(known) if known is not None else [option.key for option in options()] + [*ALIASES]
    if known is None:
        sections = {candidate.partition(".")[0] for candidate in candidates if "." in candidate}
        candidates += sections
    last = text.rpartition(".")[2]
    # The right name in the wrong section, such as `max_mb` or `scan.path`.
    found = [one for one in candidates if one.rpartition(".")[2] == last]
    found = found or difflib.get_close_matches(text, candidates, 1, 0.7)
    if not found:
        close = difflib.get_close_matches(last, {one.rpartition(".")[2] for one in candidates}, 1, 0.85)
        found = [one for one in candidates if close and one.rpartition(".")[2] == close[0]]
    return f"; did you mean {' or '.join(f'`{one}`' for one in found)}?" if found else ""


def unknown_variables(environ: Mapping[str, str]) -> list[ConfigError]:
    """Returns a problem for each variable that looks like one of ours and is none."""
    ours = [name for name in environ if name.upper().startswith(("CY", f"OTEL_{_PREFIX}")) and "_" in name]
    if not ours:
        return []
    variables = {option.env for option in options() if option.from_text} | {CONFIG_VARIABLE}
    # A setting whose variable has a name of its own is looked for under the name of its key too.
    spellings = {name: name for name in variables}
    spellings |= {_PREFIX + one.key.upper().replace(".", "_"): one.env for one in options() if one.from_text}
    problems = []
    for name in ours:
        plain = name.removeprefix("OTEL_")
        if plain in variables or name in OTHER_VARIABLES:
            continue
        is_ours = plain.upper().startswith(_PREFIX)
        close = difflib.get_close_matches(plain.upper(), spellings, 1, 0.7 if is_ours else 0.9)
        if is_ours or close:
            hint = f"; did you mean {spellings[close[0]]}?" if close else ""
            reason = f"is not a known variable{hint}"
            problems.append(ConfigError(reason, source=name[:120], used="Cylestio ignores it"))
    return problems
