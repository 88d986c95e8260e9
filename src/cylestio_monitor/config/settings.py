"""The table of settings: type, default, bounds, environment variable and description of each one.

Each section of the settings file is one class. A field declares its row with `section.setting`. The generated reference
page, the JSON Schema, the environment variables, the flags of the launcher and `cylestio config show` all read this
table.
"""

import os
from collections.abc import Callable, Iterator, Mapping  # noqa: TC003 -- msgspec evaluates the annotations of this module
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec
from msgspec import Meta

from cylestio_monitor.config.actors import AuthenticationSettings, IdentitySettings
from cylestio_monitor.config.alerts import AlertSettings
from cylestio_monitor.config.moderation import ModerationSettings
from cylestio_monitor.config.section import Local, Section, setting

ContentMode: TypeAlias = Literal["none", "findings", "masked", "full"]
CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class KeywordSettings(Section, frozen=True, kw_only=True):
    """Words and phrases of the user; each raises the alert level that its list is named after."""

    suspicious: Annotated[
        tuple[str, ...],
        setting("Words or phrases that raise `suspicious`.", env="CYLESTIO_SUSPICIOUS_KEYWORDS", local="add"),
    ] = ()
    dangerous: Annotated[
        tuple[str, ...],
        setting("Words or phrases that raise `dangerous`.", env="CYLESTIO_DANGEROUS_KEYWORDS", local="add"),
    ] = ()
    defaults: Annotated[bool, setting("Also applies the keyword rules of the package.", local="greater")] = True


class SilenceSettings(Section, frozen=True, kw_only=True):
    """One accepted finding; every criterion that is given must match."""

    rule: Annotated[str | None, setting("A rule id, or a prefix ending in `.*`.")] = None
    path: Annotated[str | None, setting("A place, such as `tools[*]`; `*` matches any run of characters.")] = None
    match_hash: Annotated[str | None, setting("The keyed hash of a match, as a finding shows it.")] = None
    until: Annotated[str | None, setting("Last day of validity, `YYYY-MM-DD`; without it, no end.")] = None
    reason: Annotated[str | None, setting("The reason, for later readers.")] = None


class OverrideSettings(Section, frozen=True, kw_only=True):
    """A changed severity of one rule or of a group of rules."""

    rule: Annotated[str, setting("A rule id, or a prefix ending in `.*`.")]
    severity: Annotated[Literal["low", "medium", "high", "critical"], setting("The new severity.")]


class RuleSettings(Section, frozen=True, kw_only=True):
    """The rules that apply."""

    packs: Annotated[
        tuple[str, ...],
        setting(
            "Additional rule files; relative paths start at the folder of the settings file.",
            env="CYLESTIO_RULE_PACKS",
            local="paths",
        ),
    ] = ()
    experimental: Annotated[bool, setting("Also applies rules of status `experimental`.", local="greater")] = False
    silence: Annotated[tuple[SilenceSettings, ...], setting("Accepted findings, which are not reported.")] = ()
    override: Annotated[
        tuple[OverrideSettings, ...], setting("Severities that differ from those of the packs.", local="critical")
    ] = ()


class ScanSettings(Section, frozen=True, kw_only=True):
    """The scanner."""

    enabled: Annotated[bool, setting("Scans texts.", local="greater")] = True
    engine: Annotated[
        Literal["auto", "hyperscan", "python"],
        setting("`auto` uses hyperscan where it is installed. Both engines give the same findings."),
    ] = "auto"
    max_bytes: Annotated[
        int,
        setting(
            "Longest text that is scanned, in code points; of a longer one the two ends are scanned.",
            local="greater",
            ge=1024,
        ),
    ] = 4_000_000
    parsers: Annotated[
        Literal["builtin", "installed"],
        setting(
            "`installed` also parses shell and SQL in tool arguments with `tree-sitter-bash` and `sqlglot`, for the "
            "whole process; they add half a second to the start.",
            local="greater",
        ),
    ] = "builtin"
    locales: Annotated[
        tuple[str, ...],
        setting("Countries (ISO 3166) whose national identifiers are detected; an empty list means all."),
    ] = ()


class DetectorSettings(Section, frozen=True, kw_only=True):
    """Models and services that classify texts in addition to the rules."""

    use: Annotated[tuple[str, ...], setting("Detectors by the name of their entry point, such as `onnx`.")] = ()
    model: Annotated[str | None, setting("Folder of the model that the detector `onnx` loads.")] = None
    threshold: Annotated[float, setting("Lowest score that makes a finding.", local="less", ge=0, le=1)] = 0.9
    severity: Annotated[
        Literal["low", "medium", "high", "critical"],
        setting("Severity of the findings, `classifier.<name>`.", local="greater"),
    ] = "medium"
    surfaces: Annotated[
        tuple[Literal["llm", "tool_result", "system", "memory"], ...],
        setting("Surfaces of the input that are classified.", local="add"),
    ] = ("llm", "tool_result")
    wait: Annotated[
        bool,
        setting("Calls wait for the scores, at most `budget_ms`: only then can a score block a call.", local="greater"),
    ] = False
    budget_ms: Annotated[int, setting("Longest wait for a score, in ms.", ge=1)] = 500
    max_chars: Annotated[int, setting("Longest text that is classified, in code points.", local="greater", ge=256)] = (
        20_000
    )


class StoreSettings(Section, frozen=True, kw_only=True):
    """The local SQLite file."""

    enabled: Annotated[bool, setting("Keeps spans, findings and events locally.", local="greater")] = True
    path: Annotated[
        str | None,
        setting(
            "The database file; without it, `cylestio.db` in the user's data folder.",
            env="CYLESTIO_DB_PATH",
            local="path",
        ),
    ] = None
    max_mb: Annotated[
        int, setting("Disk budget in MiB; at the limit the oldest benign spans are removed.", local="greater", ge=8)
    ] = 1024
    keep_days: Annotated[int, setting("Days for which spans without a finding are kept.", local="greater", ge=1)] = 30
    keep_findings_days: Annotated[
        int, setting("Days for which spans with findings, and events, are kept.", local="greater", ge=1)
    ] = 365
    durable_wait_ms: Annotated[
        int,
        setting("Longest wait, in ms, for a high or critical finding to be on disk before the call continues.", ge=0),
    ] = 250


class LogSettings(Section, frozen=True, kw_only=True):
    """The JSON-lines log."""

    file: Annotated[
        str | None,
        setting(
            "File that also receives events, and calls with their findings, one JSON object per line.",
            env="CYLESTIO_LOG_FILE",
            local="path",
        ),
    ] = None
    max_mb: Annotated[int, setting("Size in MiB at which the file is rotated.", local="greater", ge=1)] = 10
    backups: Annotated[int, setting("Number of rotated files that are kept.", local="greater", ge=0)] = 5


class LimitSettings(Section, frozen=True, kw_only=True):
    """One limit on calls, tokens or cost."""

    name: Annotated[str, setting("Name of the limit, in findings and errors.")]
    measure: Annotated[
        Literal["calls", "tokens", "cost"],
        setting("What is counted: tool calls, tokens, or cost in the currency of `prices`."),
    ]
    amount: Annotated[float, setting("The most of it within the period.", ge=0)]
    per: Annotated[Literal["second", "minute", "hour", "day", "week"], setting("The period.")] = "day"
    by: Annotated[
        Literal["session", "user", "agent", "tool", "server", "model", "all"],
        setting("Calls with the same value of this are counted together."),
    ] = "session"
    tool: Annotated[
        str, setting("Counts only this tool, as `server/tool` or `tool`; `*` is any run of characters.")
    ] = ""

    def __post_init__(self) -> None:
        """Refuses a limit that no call could reach."""
        if self.measure != "calls" and (self.tool or self.by in {"tool", "server"}):
            raise ValueError("`tokens` and `cost` are used by model calls, which belong to no tool and no server")


class PriceSettings(Section, frozen=True, kw_only=True):
    """The price of a model, per million tokens."""

    model: Annotated[str, setting("Name of the model, or what its name begins with.")]
    input: Annotated[float, setting("Price of a million input tokens.", ge=0)]
    output: Annotated[float, setting("Price of a million output tokens.", ge=0)]


class ApprovalSettings(Section, frozen=True, kw_only=True):
    """Approval of the calls that a policy asks about."""

    timeout_s: Annotated[int, setting("Seconds after which a waiting call is denied.", local="less", ge=1)] = 300
    terminal: Annotated[bool, setting("Asks at the terminal of the program, where it has one.")] = False
    webhook: Annotated[str | None, setting("URL that each request is posted to, signed; `https`, or loopback.")] = None
    webhook_secret: Annotated[str | None, setting("Environment variable that holds the key of the signatures.")] = None


class ControlSettings(Section, frozen=True, kw_only=True):
    """Control of tool calls."""

    provenance: Annotated[
        bool, setting("Traces the values in tool arguments to their first speaker.", local="greater")
    ] = True
    invalid_arguments: Annotated[
        Literal["ignore", "audit", "deny"],
        setting(
            "The consequence where arguments break the tool's own schema, from MCP or the model's request: "
            "nothing, a finding (`tool.arguments`), or in mode `block` also a refusal.",
            local="greater",
        ),
    ] = "audit"
    limits: Annotated[tuple[LimitSettings, ...], setting("Limits on calls, tokens and cost.", local="no")] = ()
    prices: Annotated[tuple[PriceSettings, ...], setting("Prices of models, for cost.", local="no")] = ()
    counters: Annotated[
        str,
        setting(
            "Where limits are counted: `memory://`, `store` for the processes that share the local store, or a URI of "
            "the library `limits`, such as `redis://127.0.0.1:6379`.",
            local="no",
        ),
    ] = "memory://"
    tool_definitions: Annotated[
        Literal["none", "changed", "unapproved"],
        setting(
            "Tools that mode `block` refuses to call: `changed` since their definition was approved, or refused; all "
            "that are `unapproved`; `none`. A change is a finding with each of them.",
            local="no",
        ),
    ] = "changed"
    pins: Annotated[
        str | None, setting("File of approved tool definitions, as `cylestio tools check --update-pins` writes it.")
    ] = None


class SemconvSettings(Section, frozen=True, kw_only=True):
    """Attributes beyond those of the released semantic conventions."""

    guardrail: Annotated[
        Literal["off", "experimental"],
        setting("Also records findings in the words of the open proposal for guardrails.", local="label"),
    ] = "off"


class Settings(Section, frozen=True, kw_only=True):
    """All settings; the dotted key of a nested setting is its place here."""

    enabled: Annotated[bool, setting("The main switch; `false` instruments nothing.", local="greater")] = True
    mode: Annotated[
        Literal["monitor", "block"],
        setting(
            "`monitor` observes; `block` refuses calls whose findings reach one of the levels of `block`.",
            local="greater",
        ),
    ] = "monitor"
    block: Annotated[
        tuple[Literal["suspicious", "dangerous"], ...],
        setting("Alert levels that are refused in mode `block`.", local="add"),
    ] = ("dangerous",)
    block_unreadable: Annotated[
        bool,
        setting("Mode `block` refuses a part of a call that could not be scanned, or not as a whole.", local="greater"),
    ] = True
    content: Annotated[
        ContentMode | None,
        setting(
            "Content that is recorded: `none`; `findings`, the words around each finding, in the local store alone; "
            "`masked`, messages, arguments and results on the span, without secrets and personal data; `full`. "
            f"Unset, the standard variable `{CONTENT_VARIABLE}` chooses `none` or `masked`, else it is `findings`.",
            local="less",
        ),
    ] = None
    content_max_bytes: Annotated[
        int, setting("Longest content attribute, in bytes of its JSON.", local="less", ge=1024)
    ] = 750_000
    agent_id: Annotated[str | None, setting("Name of this agent on every span and event.", local="label")] = None
    session_id: Annotated[
        str | None, setting("Session on every span and event for which the application sets none.", local="label")
    ] = None
    summary: Annotated[
        bool, setting("Ends a run under the launcher with one line on standard error: calls, findings, next command.")
    ] = True
    policy: Annotated[
        str | None,
        setting("Policy file for tool calls. The settings file may hold the policy itself under the same key."),
    ] = None
    control: ControlSettings = ControlSettings()
    approvals: ApprovalSettings = ApprovalSettings()
    alerts: AlertSettings = AlertSettings()
    llm_hosts: Annotated[
        tuple[str, ...],
        setting(
            "Hosts, as `host` or `host:port`, whose requests by a plain HTTP client are model calls under any path.",
            local="add",
        ),
    ] = ()
    keywords: KeywordSettings = KeywordSettings()
    rules: RuleSettings = RuleSettings()
    scan: ScanSettings = ScanSettings()
    detectors: DetectorSettings = DetectorSettings()
    moderation: ModerationSettings = ModerationSettings()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()
    semconv: SemconvSettings = SemconvSettings()
    identity: IdentitySettings = IdentitySettings()
    authentication: AuthenticationSettings = AuthenticationSettings()


class Option(NamedTuple):
    """One row of the table.

    Attributes:
        key: The dotted key.
        env: The environment variable.
        annotation: The annotated type.
        default: The default value.
        doc: The description.
        local: The change that a settings file in the working directory may make.
        check: Raises `ValueError` for a value, or an item of a list, that its type and bounds cannot exclude.
    """

    key: str
    env: str
    annotation: Any
    default: Any
    doc: str
    local: Local
    check: Callable[[Any], object] | None

    @property
    def from_text(self) -> bool:
        """Tells if a variable can hold the value; a list of mappings is possible in a file only."""
        items = get_args(self.type)
        return not any(isinstance(item, type) and issubclass(item, Section) for item in items)

    @property
    def type(self) -> Any:
        """The type without its annotation."""
        return get_args(self.annotation)[0]

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a `Literal` in the order of the table; empty for other types."""
        return _choices(self.type)


def options(section: type[Section] = Settings, prefix: str = "") -> Iterator[Option]:
    """Yields every setting in the order of the table."""
    # `typing.get_type_hints` took longer than the rest of a start; the annotations here are evaluated already.
    names, values = section.__struct_fields__, section.__struct_defaults__
    defaults = dict(zip(names[len(names) - len(values) :], values, strict=True))
    for name, hint in section.__annotations__.items():
        key = prefix + name
        if isinstance(hint, type) and issubclass(hint, Section):
            yield from options(hint, f"{key}.")
            continue
        meta = next(item for item in get_args(hint) if isinstance(item, Meta))
        extra = meta.extra or {}
        env = extra.get("env") or "CYLESTIO_" + key.upper().replace(".", "_")
        local, check = extra.get("local", "no"), extra.get("check")
        yield Option(key, env, hint, defaults[name], meta.description or "", local, check)


def content_mode(settings: Settings, environ: Mapping[str, str] | None = None) -> ContentMode:
    """Returns the content that is recorded: the setting, or else the choice of the standard variable."""
    if settings.content is not None:
        return settings.content
    standard = (os.environ if environ is None else environ).get(CONTENT_VARIABLE, "").strip().upper()
    if standard in {"SPAN_ONLY", "SPAN_AND_EVENT", "TRUE"}:
        return "masked"
    return "none" if standard in {"NO_CONTENT", "FALSE"} else "findings"


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema of the settings file, for editors."""
    schema = msgspec.json.schema(Settings)
    words = {"type": "array", "items": {"type": "string"}}
    names = ("suspicious_keywords", "dangerous_keywords")
    schema["$defs"]["Settings"]["properties"]["security"] = {
        "description": "The keyword lists under the names of earlier releases.",
        "type": "object",
        "properties": dict.fromkeys(names, words),
        "additionalProperties": False,
    }
    return schema


def _choices(kind: Any) -> tuple[str, ...]:
    if getattr(kind, "__origin__", None) is Literal:
        return get_args(kind)
    return next((found for item in get_args(kind) if (found := _choices(item))), ())
