"""Every setting: its type, default, bounds, environment variable and meaning, in one table of types.

A value comes from, the later winning: the default, the YAML file (`CYLESTIO_CONFIG`, else `cylestio.yaml` in the
working directory, else in the user's configuration folder), the environment, and the arguments of `start_monitoring`.
`load` never raises for bad input: a value that cannot be used is left at its default and named in `Loaded.problems`
with file, line and key, so that the application runs on and nothing else of the file is lost.
"""

import os
from collections.abc import Iterator, Mapping  # noqa: TC003 -- the annotations here are evaluated
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta

from cylestio_monitor import yamlfile
from cylestio_monitor.errors import ConfigError

FILE_NAME = "cylestio.yaml"
CONFIG_VARIABLE = "CYLESTIO_CONFIG"
CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def _doc(text: str, *, env: str | None = None, **bounds: Any) -> Meta:
    """One row of the table: the description, the variable where it is not the key's, and the bounds."""
    return Meta(description=text, extra={"env": env} if env else None, **bounds)


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of the file: immutable, and a key it does not know is an error."""


class KeywordSettings(_Section, frozen=True, kw_only=True):
    """The user's own words, obeyed as written at the level they stand under."""

    suspicious: Annotated[
        tuple[str, ...], _doc("Words or phrases that raise `suspicious`.", env="CYLESTIO_SUSPICIOUS_KEYWORDS")
    ] = ()
    dangerous: Annotated[
        tuple[str, ...], _doc("Words or phrases that raise `dangerous`.", env="CYLESTIO_DANGEROUS_KEYWORDS")
    ] = ()
    defaults: Annotated[bool, _doc("Whether the shipped keyword rules apply too.")] = True


class SilenceSettings(_Section, frozen=True, kw_only=True):
    """One thing that is known and shall not be reported again."""

    rule: Annotated[str | None, _doc("A rule id, or a prefix ending in `.*`.")] = None
    path: Annotated[str | None, _doc("A place, such as `tools[*]`; `*` stands for any run of characters.")] = None
    match_hash: Annotated[str | None, _doc("The keyed hash of a match, as a finding shows it.")] = None
    until: Annotated[str | None, _doc("Last day it holds, `YYYY-MM-DD`; without it, for ever.")] = None
    reason: Annotated[str | None, _doc("Why, for whoever reads it later.")] = None


class OverrideSettings(_Section, frozen=True, kw_only=True):
    """A changed severity of one rule."""

    rule: Annotated[str, _doc("A rule id, or a prefix ending in `.*`.")]
    severity: Annotated[Literal["low", "medium", "high", "critical"], _doc("The severity it shall have.")]


class RuleSettings(_Section, frozen=True, kw_only=True):
    """Which rules apply."""

    packs: Annotated[
        tuple[str, ...], _doc("Rule files of your own, relative to the settings file.", env="CYLESTIO_RULE_PACKS")
    ] = ()
    experimental: Annotated[bool, _doc("Whether rules of status `experimental` apply.")] = False
    silence: Annotated[tuple[SilenceSettings, ...], _doc("Findings that are known and accepted.")] = ()
    override: Annotated[tuple[OverrideSettings, ...], _doc("Severities that differ from the pack's.")] = ()


class ScanSettings(_Section, frozen=True, kw_only=True):
    """The scanner."""

    enabled: Annotated[bool, _doc("Whether texts are scanned at all.")] = True
    engine: Annotated[
        Literal["auto", "hyperscan", "python"],
        _doc("`auto` takes hyperscan where its wheel is installed. Findings are the same with either."),
    ] = "auto"
    max_bytes: Annotated[
        int, _doc("Longest text scanned, in code points; of a longer one the two ends are scanned.", ge=1024)
    ] = 4_000_000
    parsers: Annotated[
        Literal["builtin", "installed"],
        _doc(
            "`installed` also reads shell and SQL in tool arguments with `tree-sitter-bash` and `sqlglot`, for the "
            "whole process; loading them takes half a second at the start."
        ),
    ] = "builtin"
    locales: Annotated[
        tuple[str, ...], _doc("Countries (ISO 3166) of which national ids are looked for; empty means all.")
    ] = ()


class DetectorSettings(_Section, frozen=True, kw_only=True):
    """Models and services that are asked beside the rules."""

    use: Annotated[tuple[str, ...], _doc("Detectors that are asked, by their entry point's name, such as `onnx`.")] = ()
    model: Annotated[str | None, _doc("Folder of the model that the detector `onnx` loads.")] = None
    threshold: Annotated[float, _doc("Score from which an answer is a finding.", ge=0, le=1)] = 0.9
    severity: Annotated[
        Literal["low", "medium", "high", "critical"], _doc("Severity of the findings, `classifier.<name>`.")
    ] = "medium"
    surfaces: Annotated[
        tuple[Literal["llm", "tool_result", "system", "memory"], ...], _doc("Surfaces of the input that are looked at.")
    ] = ("llm", "tool_result")
    wait: Annotated[
        bool, _doc("Whether a call waits for the answers, at most `budget_ms`: only then can they block it.")
    ] = False
    budget_ms: Annotated[int, _doc("Longest wait for an answer, in ms.", ge=1)] = 500
    max_chars: Annotated[int, _doc("Longest text that is asked about, in code points.", ge=256)] = 20_000


class StoreSettings(_Section, frozen=True, kw_only=True):
    """The local SQLite file."""

    enabled: Annotated[bool, _doc("Whether spans, findings and events are kept locally.")] = True
    path: Annotated[
        str | None,
        _doc("The database file; without it, `cylestio.db` in the user's data folder.", env="CYLESTIO_DB_PATH"),
    ] = None
    max_mb: Annotated[int, _doc("Disk budget in MiB; at the cap the oldest benign spans go first.", ge=8)] = 1024
    keep_days: Annotated[int, _doc("Days that spans without a finding are kept.", ge=1)] = 30
    keep_findings_days: Annotated[int, _doc("Days that spans with findings, and events, are kept.", ge=1)] = 365
    durable_wait_ms: Annotated[
        int, _doc("Longest wait, in ms, for a high or critical finding to be on disk before the call goes on.", ge=0)
    ] = 250


class LogSettings(_Section, frozen=True, kw_only=True):
    """The JSON-lines log of events."""

    file: Annotated[
        str | None, _doc("Where events are also written, a JSON object a line.", env="CYLESTIO_LOG_FILE")
    ] = None
    max_mb: Annotated[int, _doc("Size in MiB at which the file is rotated.", ge=1)] = 10
    backups: Annotated[int, _doc("Rotated files that are kept.", ge=0)] = 5


class Settings(_Section, frozen=True, kw_only=True):
    """All settings; the dotted key of a nested one is its place here."""

    enabled: Annotated[bool, _doc("The main switch; off means that nothing is hooked.")] = True
    mode: Annotated[
        Literal["monitor", "block"],
        _doc("`monitor` observes; `block` refuses calls whose findings reach one of the levels of `block`."),
    ] = "monitor"
    block: Annotated[
        tuple[Literal["suspicious", "dangerous"], ...], _doc("Alert levels that are refused in mode `block`.")
    ] = ("dangerous",)
    content: Annotated[
        Literal["none", "masked", "full"] | None,
        _doc(
            "Whether messages, arguments and results stand on the span: not at all, with secrets and personal data "
            "masked, or as they are. Without it the standard variable "
            f"`{CONTENT_VARIABLE}` decides between `none` and `masked`."
        ),
    ] = None
    content_max_bytes: Annotated[int, _doc("Longest content attribute, in bytes of its JSON.", ge=1024)] = 750_000
    agent_id: Annotated[str | None, _doc("Name of this agent on every span and event.")] = None
    session_id: Annotated[str | None, _doc("Session on every span and event, where the application sets none.")] = None
    keywords: KeywordSettings = KeywordSettings()
    rules: RuleSettings = RuleSettings()
    scan: ScanSettings = ScanSettings()
    detectors: DetectorSettings = DetectorSettings()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()


class Option(NamedTuple):
    """One row of the table, as `options` gives it."""

    key: str
    env: str
    annotation: Any
    default: Any
    doc: str

    @property
    def from_text(self) -> bool:
        """Whether a variable can hold it; a list of mappings stands in the file alone."""
        items = get_args(get_args(self.annotation)[0])
        return not any(isinstance(item, type) and issubclass(item, _Section) for item in items)


class Loaded(NamedTuple):
    """What `load` found.

    Attributes:
        settings: The settings in force.
        problems: What could not be used, each naming its file, line and key.
        source: The YAML file that was read, where there is one.
        origin: Where each key that differs from its default was set: a file with line, or a variable.
    """

    settings: Settings
    problems: list[ConfigError]
    source: Path | None
    origin: dict[str, str]


def options(section: type[_Section] = Settings, prefix: str = "") -> Iterator[Option]:
    """Every setting, in the order of the table, with its variable and its description."""
    # The annotations of this module are no texts: evaluating those took longer than everything else of a start.
    names, values = section.__struct_fields__, section.__struct_defaults__
    defaults = dict(zip(names[len(names) - len(values) :], values, strict=True))
    for name, hint in section.__annotations__.items():
        key = prefix + name
        if isinstance(hint, type) and issubclass(hint, _Section):
            yield from options(hint, f"{key}.")
            continue
        meta = next(item for item in get_args(hint) if isinstance(item, Meta))
        env = (meta.extra or {}).get("env") or "CYLESTIO_" + key.upper().replace(".", "_")
        yield Option(key, env, hint, defaults[name], meta.description or "")


def load(
    environ: Mapping[str, str] | None = None,
    *,
    path: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    """Reads the settings from file, environment and arguments. Never raises for what they hold.

    Args:
        environ: The environment; `os.environ` where none is given.
        path: A settings file that replaces the one looked for.
        overrides: Nested values that win over everything, as the YAML file would hold them.
    """
    environ = os.environ if environ is None else environ
    problems: list[ConfigError] = []
    origin: dict[str, str] = {}
    source = _find_file(environ, path, problems)
    tree: dict[str, Any] = {}
    lines: yamlfile.Lines = {}
    if source is not None:
        try:
            tree, lines = yamlfile.read_mapping(source)
        except ConfigError as error:
            problems.append(error)
        origin.update({key: f"{source}:{line}" for key, line in lines.items()})
    for option in options():
        raw = environ.get(option.env)
        if raw is None or raw == "":
            continue
        try:
            value = _from_text(raw, option.annotation)
        except msgspec.ValidationError as error:
            problems.append(ConfigError(f"{error} (got {raw!r})", source=option.env, key=option.key))
            continue
        _put(tree, option.key, value)
        origin[option.key] = option.env
    for key, value in _flatten(overrides or {}):
        _put(tree, key, value)
        origin[key] = "argument"
    settings = _convert(tree, lines, str(source) if source else "argument", origin, problems)
    return Loaded(settings, problems, source, origin)


def content_mode(settings: Settings, environ: Mapping[str, str] | None = None) -> Literal["none", "masked", "full"]:
    """What of the content stands on spans: the setting, or else what the standard variable says."""
    if settings.content is not None:
        return settings.content
    standard = (os.environ if environ is None else environ).get(CONTENT_VARIABLE, "").strip().upper()
    return "masked" if standard in {"SPAN_ONLY", "SPAN_AND_EVENT", "TRUE"} else "none"


def database_path(settings: Settings) -> Path:
    """The file of the local store."""
    if settings.store.path:
        return Path(settings.store.path).expanduser()
    import platformdirs  # noqa: PLC0415 -- where a path is named there is no need of it

    return Path(platformdirs.user_data_dir("cylestio-monitor", appauthor=False)) / "cylestio.db"


def cache_folder() -> Path:
    """Where compiled rules are kept between processes."""
    import platformdirs  # noqa: PLC0415 -- as above

    return Path(platformdirs.user_cache_dir("cylestio-monitor", appauthor=False))


def json_schema() -> dict[str, Any]:
    """JSON Schema of the settings file, for editors."""
    return msgspec.json.schema(Settings)


def _find_file(environ: Mapping[str, str], path: str | Path | None, problems: list[ConfigError]) -> Path | None:
    named = path or environ.get(CONFIG_VARIABLE)
    if named:
        file = Path(named).expanduser()
        if file.is_file():
            return file
        problems.append(ConfigError("no such file", source=str(file)))
        return None
    import platformdirs  # noqa: PLC0415 -- as above

    folder = platformdirs.user_config_dir("cylestio-monitor", appauthor=False)
    for candidate in (Path(FILE_NAME), Path(folder) / FILE_NAME):
        try:
            if candidate.is_file():
                return candidate
        except OSError:  # a folder that may not be looked into holds no settings for us
            continue
    return None


def _from_text(raw: str, annotation: Any) -> Any:
    """A variable's text as the setting's type; a list is separated by commas."""
    text = raw.strip()
    kind = get_args(annotation)[0]
    value: Any = (
        [item.strip() for item in text.split(",") if item.strip()]
        if getattr(kind, "__origin__", None) is tuple
        else text
    )
    if kind is bool or annotation is bool:
        value = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower(), text.lower())
    elif isinstance(value, str) and "Literal" in str(kind):
        value = text.lower()
    return msgspec.convert(value, annotation, strict=False)


def _convert(
    tree: dict[str, Any], lines: yamlfile.Lines, source: str, origin: dict[str, str], problems: list[ConfigError]
) -> Settings:
    """The tree as settings; what does not fit is taken out, one key at a time, and named."""
    while True:
        try:
            return msgspec.convert(tree, Settings)
        except msgspec.ValidationError as error:
            reason, key = yamlfile.split_error(str(error))
            where = origin.get(key, "")
            in_file = where.startswith(source)
            problems.append(
                ConfigError(
                    reason,
                    source=source if in_file or not where else where,
                    line=lines.get(key) if in_file else None,
                    key=key,
                )
            )
            if not _drop(tree, key):
                return Settings()


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for name in parents:
        child = tree.get(name)
        if not isinstance(child, dict):
            child = tree[name] = {}
        tree = child
    tree[last] = value


def _drop(tree: Any, key: str) -> bool:
    """Takes the value at `key` out of the tree; an item of a list goes alone. Whether there was one."""
    steps = yamlfile.steps(key)
    for step in steps[:-1]:
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            return False
    try:
        del tree[steps[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and name != "extra":
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
