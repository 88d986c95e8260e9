"""The policy document: its keys, their types and their meaning, in one table of types.

The JSON Schema for editors, the reference page and the loader's errors follow from these types.
"""

# The annotations here are evaluated by msgspec at run time.
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

Action: TypeAlias = Literal["allow", "audit", "redact", "ask", "deny"]
ACTIONS: tuple[Action, ...] = ("allow", "audit", "redact", "ask", "deny")
STRICTNESS: dict[str, int] = {action: number for number, action in enumerate(ACTIONS)}
"""The strictest of the matching rules wins."""

Period: TypeAlias = Literal["second", "minute", "hour", "day", "week"]
SECONDS: dict[str, int] = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
Subject: TypeAlias = Literal["session", "user", "agent", "tool", "server", "model", "all"]
DefinitionState: TypeAlias = Literal["unknown", "seen", "approved", "changed", "refused"]
UseSubject: TypeAlias = Literal["session", "user", "agent", "model", "all"]
"""By what tokens and cost are added up: a model call uses them, and belongs to no tool."""
Texts: TypeAlias = str | tuple[str, ...]
Severity: TypeAlias = Literal["low", "medium", "high", "critical"]
Surface: TypeAlias = Literal["prompts", "answers", "arguments", "results"]
SURFACES: tuple[Surface, ...] = ("prompts", "answers", "arguments", "results")
"""Where `redact` replaces secrets and personal data: in what goes to a model or tool, and in what comes back."""
Scalar: TypeAlias = str | bool | int | float | None


def _doc(text: str, **bounds: Any) -> Meta:
    return Meta(description=text, **bounds)


class _Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A mapping of the document; an unknown key is an error."""


class ArgumentCondition(_Keys, frozen=True, kw_only=True):
    """A condition on one argument; all given keys must hold for each value of the argument."""

    equals: Annotated[Scalar | msgspec.UnsetType, _doc("The value is this one.")] = msgspec.UNSET
    one_of: Annotated[Annotated[tuple[Scalar, ...], Meta(min_length=1)] | None, _doc("The value is one of these.")] = (
        None
    )
    glob: Annotated[Texts | None, _doc("The text matches one of these patterns; `*` is any run of characters.")] = None
    regex: Annotated[str | None, _doc("The whole text matches this expression (RE2 syntax, linear time).")] = None
    host: Annotated[
        Texts | None, _doc("Each host of the URLs and e-mail addresses in the text matches one of these patterns.")
    ] = None
    path: Annotated[Texts | None, _doc("The file path lies below one of these folders, after `..` is resolved.")] = None
    min: Annotated[float | None, _doc("The number is at least this.")] = None
    max: Annotated[float | None, _doc("The number is at most this.")] = None
    max_length: Annotated[Annotated[int, Meta(ge=0)] | None, _doc("The text has at most this many code points.")] = None
    present: Annotated[bool | None, _doc("Whether the argument is given at all.")] = None
    json_schema: Annotated[dict[str, Any] | None, _doc("The value is valid by this JSON Schema.")] = None
    negate: Annotated[bool, _doc("Whether the condition holds where the other keys do not.")] = False


class FindingCondition(_Keys, frozen=True, kw_only=True):
    """A condition on the findings of the call; one finding must fit all given keys."""

    category: Annotated[Texts | None, _doc("Category, such as `secret`.")] = None
    rule: Annotated[Texts | None, _doc("Rule id, or a pattern such as `secret.*`.")] = None
    severity: Annotated[Severity | None, _doc("Least severity.")] = None
    surface: Annotated[
        Texts | None, _doc("`llm`, `tool_call`, `tool_result`, `tool_definition`, `system`, `memory`.")
    ] = None


class OriginCondition(_Keys, frozen=True, kw_only=True):
    """A condition on the provenance of the arguments; one untrusted value must fit all given keys."""

    severity: Annotated[Literal["low", "medium", "high"] | None, _doc("Least severity of the origin.")] = None
    shape: Annotated[Literal["field", "prose"] | None, _doc("Shape of the value where it was said first.")] = None
    tool: Annotated[Texts | None, _doc("Tool whose result said the value first.")] = None
    argument: Annotated[Texts | None, _doc("Argument that the value stands in.")] = None


class AfterCondition(_Keys, frozen=True, kw_only=True):
    """A condition on what happened earlier in the session; one earlier call must fit all given keys."""

    tool: Annotated[Texts | None, _doc("A tool that ran.")] = None
    category: Annotated[Texts | None, _doc("A category of finding that was reported.")] = None
    rule: Annotated[Texts | None, _doc("A rule that had a finding.")] = None
    data: Annotated[
        Annotated[tuple[Literal["secret", "personal"], ...], Meta(min_length=1)] | None,
        _doc("A kind of data that was met."),
    ] = None


class RateCondition(_Keys, frozen=True, kw_only=True):
    """A condition on the number of calls; it holds for each call beyond the limit."""

    limit: Annotated[int, _doc("Calls that are within the rate.", ge=0)]
    per: Annotated[Period, _doc("The period, as a sliding window.")] = "minute"
    by: Annotated[Subject, _doc("Calls with the same value of this are counted together.")] = "session"


class BudgetCondition(_Keys, frozen=True, kw_only=True):
    """A condition on what was used; it holds once one of the amounts is used up."""

    tokens: Annotated[Annotated[int, Meta(ge=0)] | None, _doc("Tokens, input and output.")] = None
    cost: Annotated[Annotated[float, Meta(ge=0)] | None, _doc("Cost in the currency of the price list.")] = None
    per: Annotated[Period, _doc("The period, as a sliding window.")] = "day"
    by: Annotated[UseSubject, _doc("What is used by calls with the same value of this is added up.")] = "session"


class PolicyRule(_Keys, frozen=True, kw_only=True):
    """One rule: conditions that must all hold, and the action for calls that fit."""

    id: Annotated[str, _doc("Name of the rule, on the span and in the audit trail.", pattern=r"^[\w.-]{1,80}$")]
    action: Annotated[Action, _doc("The action; of all rules that fit, the strictest wins.")]
    reason: Annotated[
        Annotated[str, Meta(max_length=300)] | None, _doc("A sentence for the person who reads the decision.")
    ] = None
    tool: Annotated[Texts | None, _doc("Tools as `server/tool` or `tool`; patterns with `*`.")] = None
    agent: Annotated[Texts | None, _doc("Agent ids; an empty one fits the calls that name no agent.")] = None
    user: Annotated[Texts | None, _doc("User ids; an empty one fits the calls that name no user.")] = None
    role: Annotated[Texts | None, _doc("Roles; one of the caller's roles must fit.")] = None
    session: Annotated[Texts | None, _doc("Session ids; an empty one fits the calls without a session.")] = None
    arguments: Annotated[
        dict[str, Scalar | tuple[Scalar, ...] | ArgumentCondition] | None,
        _doc("Conditions by argument; a value or a list stands for `equals` and `one_of`; `*` is any argument."),
    ] = None
    findings: Annotated[FindingCondition | None, _doc("A finding of this call.")] = None
    origin: Annotated[OriginCondition | None, _doc("An untrusted value among the arguments.")] = msgspec.field(
        name="from", default=None
    )
    after: Annotated[AfterCondition | None, _doc("An earlier call of the same session or trace.")] = None
    definition: Annotated[
        DefinitionState | Annotated[tuple[DefinitionState, ...], Meta(min_length=1)] | None,
        _doc("State of the tool's definition."),
    ] = None
    rate: Annotated[RateCondition | None, _doc("More calls than a limit.")] = None
    budget: Annotated[BudgetCondition | None, _doc("More tokens or cost than a limit.")] = None
    surfaces: Annotated[
        Annotated[tuple[Surface, ...], Meta(min_length=1)] | None,
        _doc(
            "With the action `redact`: where secrets and personal data are replaced; without it, in `arguments` and "
            "`results`, and, in a rule without `tool`, also in `prompts` and `answers`. A streamed answer passes "
            "piece by piece, held back where a value may still be incomplete."
        ),
    ] = None


class AgentPolicy(_Keys, frozen=True, kw_only=True):
    """The settings of a policy that differ for one agent."""

    default: Annotated[Literal["allow", "deny"], _doc("The action where no rule fits a tool call of this agent.")]


class PolicyDocument(_Keys, frozen=True, kw_only=True):
    """A whole policy."""

    version: Annotated[
        Annotated[str, Meta(max_length=80)] | None, _doc("Your version; without it, a digest of the document.")
    ] = None
    mode: Annotated[
        Literal["monitor", "block"] | None,
        _doc("`monitor` records what would have happened, `block` enforces; without it, the setting `mode` decides."),
    ] = None
    default: Annotated[Literal["allow", "deny"], _doc("The action where no rule fits a tool call.")] = "allow"
    agents: Annotated[dict[str, AgentPolicy], _doc("What differs by agent id.")] = {}
    effects: Annotated[
        dict[str, Literal["acts", "fetches", "reads"]],
        _doc("The effect of your tools, where name and annotations do not tell it."),
    ] = {}
    restore: Annotated[
        Texts | None,
        _doc("Tools, as `server/tool` or `tool`, whose arguments get the original values back in place of tokens."),
    ] = None
    rules: Annotated[tuple[PolicyRule, ...], _doc("The rules, in any order.")] = ()


def texts(value: Texts | None) -> tuple[str, ...]:
    """One text or several as a tuple; empty for ``None``."""
    return () if value is None else (value,) if isinstance(value, str) else value


def json_schema() -> dict[str, Any]:
    """JSON Schema of a policy file, for editors."""
    return msgspec.json.schema(PolicyDocument)
