"""The types of a rule file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

from cylestio_monitor.model import Subtype, Target
from cylestio_monitor.rules.words import expand

Category: TypeAlias = Literal[
    "prompt_injection",
    "jailbreak",
    "system_prompt_leakage",
    "sensitive_data",
    "secret",
    "destructive_command",
    "code_execution",
    "exfiltration",
    "excessive_agency",
    "tool_poisoning",
    "resource_abuse",
    "moderation",
    "authentication",
    "keyword",
]
CATEGORIES: tuple[str, ...] = get_args(Category)
RuleSeverity: TypeAlias = Literal["none", "low", "medium", "high", "critical"]
Status: TypeAlias = Literal["stable", "experimental"]
Surface: TypeAlias = Subtype | Literal["tool_name"]
"""Where a rule looks. ``tool_name`` is the name of a called tool, which no other surface covers."""

Evasion: TypeAlias = Literal["look-alike", "leet", "spaced", "base64", "hex", "url", "html", "escape", "rot13"]

Detector: TypeAlias = Literal["prompt-overlap", "learned"]

MAX_PATTERN = 300
"""Longest pattern, and longest entry of a word list, in characters."""

Expression: TypeAlias = Annotated[str, Meta(min_length=2, max_length=MAX_PATTERN)]
WordList: TypeAlias = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=MAX_PATTERN)], ...], Meta(min_length=1, max_length=400)
]
WordLists: TypeAlias = dict[Annotated[str, Meta(pattern="^[a-z][a-z0-9-]*$")], WordList]

RULE_ID = r"^[a-z0-9_]+(?:\.[a-z0-9][a-z0-9-]*)+$"
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"


class Examples(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Texts that prove the rule: it finds every hit and passes every miss.

    ``{{[A-Z0-9]:16}}`` stands for 16 characters of the class, the same ones every time: a made-up token that no
    secret scanner of a code host takes for a real one.
    """

    hit: Annotated[tuple[str, ...], Meta(min_length=1, description="Texts the rule must find.")]
    miss: Annotated[tuple[str, ...], Meta(min_length=1, description="Texts the rule must pass over.")]


class RuleContext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words of which one must stand near the match, for forms that mean nothing alone."""

    words: Annotated[tuple[str, ...], Meta(min_length=1, description="Words or phrases, any letter case.")]
    within: Annotated[int, Meta(ge=1, le=400, description="Longest distance in characters, before or after.")] = 60


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule.

    Attributes:
        id: Unique, dotted, such as ``secret.aws-access-key-id``.
        uuid: Stays the same for the rule's life, across renaming.
        version: Counts up with every change of what the rule finds.
        title: One line for people.
        category: What a finding of it is.
        severity: How grave a finding is; ``none`` for what is found and masked but reported on no span, such as an
            e-mail address.
        status: ``experimental`` rules apply only where the settings ask for them.
        pattern: What is looked for: a regular expression in the syntax of `re`, ASCII classes, no back-reference.
            A group named ``value`` narrows the finding to that part.
        patterns: Several patterns in place of one: the rule finds any of them, and where matches of two overlap, the
            one that begins first.
        words: Word lists that the patterns refer to as ``(?&name)``; those of the pack are filled in by the loader.
        keywords: Words or phrases to look for in place of a pattern; they know word borders and identifiers.
        signs: In place of a pattern: expressions that mean little alone; found where `least` different ones stand in
            the text.
        least: How many signs it takes.
        evasion: In place of a pattern: found where a text that is undone from this disguise holds another finding
            that the text itself does not.
        detector: In place of a pattern: found by a part of the scanner that is no expression. The examples of
            ``prompt-overlap`` hold the system prompt, a line ``---`` and the answer.
        case: Whether letter case counts.
        validators: Checks that a match must pass, such as ``luhn`` or ``entropy:3.5``.
        context: Words that must stand near the match.
        targets: Sides of a call the rule looks at; empty means both.
        surfaces: Surfaces the rule looks at; empty means all but ``tool_name``.
        locales: Countries (ISO 3166) of a national form.
        generic: Gives way to a finding of another rule of its category at the same place.
        unfold: Whether texts undone from an evasion (spaced letters, look-alike digits, encodings) are looked at too.
        masks: Whether a match is replaced in recorded content, where its category is one that is.
        owasp: OWASP identifiers.
        atlas: MITRE ATLAS techniques.
        false_positives: What harmless text it is known to find.
        references: Addresses of where the form or the attack is described.
        examples: The texts that prove it.
        ruleset: The pack it stands in; filled by the loader.
    """

    id: Annotated[str, Meta(pattern=RULE_ID)]
    uuid: Annotated[str, Meta(pattern=UUID)]
    version: Annotated[int, Meta(ge=1)] = 1
    title: Annotated[str, Meta(min_length=3, max_length=120)]
    category: Category
    severity: RuleSeverity
    status: Status = "stable"
    pattern: Expression | None = None
    patterns: tuple[Expression, ...] = ()
    words: WordLists = {}
    keywords: tuple[Annotated[str, Meta(min_length=2, max_length=200)], ...] = ()
    signs: tuple[Expression, ...] = ()
    least: Annotated[int, Meta(ge=2, le=20)] = 3
    evasion: Evasion | None = None
    detector: Detector | None = None
    case: Literal["sensitive", "insensitive"] = "insensitive"
    validators: tuple[str, ...] = ()
    context: RuleContext | None = None
    targets: tuple[Target, ...] = ()
    surfaces: tuple[Surface, ...] = ()
    locales: tuple[Annotated[str, Meta(pattern="^[A-Z]{2}$")], ...] = ()
    generic: bool = False
    unfold: bool = False
    masks: bool = True
    owasp: tuple[Annotated[str, Meta(pattern=r"^(?:LLM(?:0[1-9]|10):2025|ASI(?:0[1-9]|10))$")], ...] = ()
    atlas: tuple[Annotated[str, Meta(pattern=r"^AML\.T\d{4}(?:\.\d{3})?$")], ...] = ()
    false_positives: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    examples: Examples
    ruleset: str = ""

    def expressions(self) -> dict[str, str]:
        """The regular expressions of the rule by their key in the rule file, word lists filled in.

        Raises:
            WordListError: One refers to a list that does not exist.
        """
        written = {} if self.pattern is None else {"pattern": self.pattern}
        written |= {f"patterns[{number}]": one for number, one in enumerate(self.patterns)}
        written |= {f"signs[{number}]": one for number, one in enumerate(self.signs)}
        return {key: expand(one, self.words) for key, one in written.items()}


class Pack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule file.

    Attributes:
        ruleset: The pack's name, which findings carry as ``security_rule.ruleset.name``.
        title: One line for people.
        defaults: Keys that every rule of the file has where it says nothing else.
        words: Word lists that the patterns of every rule of the file may refer to.
        rules: The rules.
    """

    ruleset: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    title: str = ""
    defaults: dict[str, Any] = {}
    words: WordLists = {}
    rules: tuple[Rule, ...]


def json_schema() -> dict[str, Any]:
    """JSON Schema of a rule file, for editors."""
    schema = msgspec.json.schema(Pack)
    rule = schema["$defs"]["Rule"]
    rule["properties"].pop("ruleset")
    # The file's `defaults` may supply every key but these.
    rule["required"] = ["id", "uuid", "title", "examples"]
    return schema
