"""The policy: its rules and what they did, and the replay of a draft over the stored calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import yaml
from starlette.responses import Response
from starlette.routing import Route

from cylestio_monitor import yamlfile
from cylestio_monitor.errors import ConfigError
from cylestio_monitor.govern.policy import learn as learning
from cylestio_monitor.govern.policy import loader, replay
from cylestio_monitor.store.read import control, lists, pages
from cylestio_monitor.store.sqlite import keys
from cylestio_monitor.store.sqlite.usage import DAY_NS
from cylestio_monitor.web import filters, view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from cylestio_monitor.config import Loaded
    from cylestio_monitor.govern.policy import Policy

_FIELDS: Final = (
    ("since", ()),
    ("agent", ()),
    ("tool", ()),
    ("rule", ()),
    ("action", ("deny", "ask", "redact", "audit", "allow")),
)
_WEEK_NS: Final = 7 * DAY_NS
_DAYS: Final = (1, 7, 30)
_CALLS: Final = 20_000
"""Calls that one replay reads."""

_RULES: Final = 500
_ROWS: Final = 100  # changes that one replay lists
_MAX_DRAFT: Final = 48_000  # code points; the form may have 64 KB
_EXAMPLE: Final = """rules:
  - id: no-drop
    tool: run_sql
    arguments: {statement: {glob: "*DROP *"}}
    action: deny
"""


class PolicyText(NamedTuple):
    """The policy that the settings name or hold.

    Attributes:
        text: Its YAML; empty without a policy.
        source: The file.
        lines: The line of each dotted key.
        prefix: Key of the policy in its file.
    """

    text: str
    source: str
    lines: Mapping[str, int | None]
    prefix: str = ""


def rules(request: Request) -> Response:
    """The rules with their matches, and the decisions."""
    shared = view.site(request)
    chosen = filters.read(request, [name for name, _ in _FIELDS])
    since_ns = chosen.since_ns or time.time_ns() - _WEEK_NS
    with view.reading(request) as connection:
        counted = control.decision_totals(connection, since_ns)
        page = pages.read_page(
            connection,
            lists.DECISIONS,
            {
                "since_ns": chosen.since_ns,
                "agent_id": chosen.get("agent"),
                "tool": chosen.get("tool"),
                "rule": chosen.get("rule"),
                "action": chosen.get("action"),
                "is_allowed": None if chosen.get("action") else False,
            },
            cursor=chosen.cursor,
        )
    loaded = loader.configured(shared.loaded, keys.match_key(shared.path))
    text = _text(shared.loaded)
    policy = loaded.policy if loaded is not None else None
    values: dict[str, Any] = {
        "policy": policy,
        "text": text,
        "problems": [str(problem) for problem in loaded.problems] if loaded is not None else [],
        "rules": _rules(policy, text, counted),
        "others": [one for one in counted if policy is None or one.rule not in {r.id for r in policy.document.rules}],
        "rows": page.rows,
        "paging": filters.paging(page, chosen),
        "filters": chosen,
        "fields": _FIELDS,
        "since_ns": since_ns,
    }
    return view.page(request, "policy.html", values, title="Policy")


def _rules(
    policy: Policy | None, text: PolicyText, counted: list[control.DecisionTotal]
) -> list[tuple[Any, str, int | None, control.DecisionTotal | None]]:
    """Each rule with its conditions as one line, its line in the file, and its decisions."""
    if policy is None:
        return []
    by_rule = {one.rule: one for one in counted}
    found = []
    for number, rule in enumerate(policy.document.rules[:_RULES]):
        conditions = msgspec.to_builtins(rule)
        for name in ("id", "action", "reason"):
            conditions.pop(name, None)
        shown = yaml.safe_dump(conditions, default_flow_style=True, width=10_000, sort_keys=False).strip()
        line = text.lines.get(f"{text.prefix}rules[{number}].id")
        found.append((rule, shown[1:-1] or "every call", line, by_rule.get(rule.id)))
    return found


def whatif(request: Request) -> Response:
    """The form of a draft, filled with the policy in force or with one learned from the stored calls."""
    shared = view.site(request)
    draft = _text(shared.loaded).text or _EXAMPLE
    with view.reading(request) as connection:
        if request.query_params.get("learn"):
            since_ns = time.time_ns() - _WEEK_NS
            draft = learning.to_yaml(learning.learn(control.calls_since(connection, since_ns, limit=_CALLS)))
    return _whatif(request, {"draft": draft[:_MAX_DRAFT], "days": 7, "agent": "", "tried": None, "problems": []})


def try_draft(request: Request) -> Response:
    """Replays a draft over the stored calls, or gives it as a file. Nothing is applied."""
    fields = view.form(request)
    draft = fields.get("draft", "").replace("\r\n", "\n")
    days = int(fields["days"]) if fields.get("days") in {str(one) for one in _DAYS} else 7
    agent = fields.get("agent", "").strip()[:300]
    if len(draft) > _MAX_DRAFT:
        raise view.PageError(
            f"A draft has at most {_MAX_DRAFT:,} characters here. `cylestio policy test` takes a file.", 413
        )
    if fields.get("do") == "download":
        headers = {"content-disposition": 'attachment; filename="policy.yaml"'}
        return Response(draft, media_type="application/yaml", headers=headers)
    shared = view.site(request)
    key = keys.match_key(shared.path)
    loaded = loader.parse(draft, "draft", key)
    values: dict[str, Any] = {"draft": draft, "days": days, "agent": agent, "tried": None}
    values["problems"] = [str(problem) for problem in loaded.problems]
    if loaded.policy is not None:
        present = loader.configured(shared.loaded, key)
        since_ns = time.time_ns() - days * DAY_NS
        uses = any(rule.budget is not None for rule in loaded.policy.document.rules)
        begun = time.monotonic()
        with view.reading(request) as connection:
            calls = control.calls_since(connection, since_ns, agent or None, uses=uses, limit=_CALLS)
            until = begun + view.QUERY_S
            tried = replay.compare(
                present.policy if present is not None else None, loaded.policy, _before(calls, until)
            )
        values["tried"] = tried
        values["seconds"] = time.monotonic() - begun
        values["is_cut"] = tried.calls >= _CALLS or time.monotonic() > until
        values["changes"] = tried.changes[:_ROWS]
        values["version"] = loaded.policy.version
        values["reached"] = _reached(loaded.policy, tried)
    return _whatif(request, values, 400 if loaded.policy is None else 200)


def _before(calls: Any, until: float) -> Any:
    """Calls until a time of the monotonic clock."""
    for number, call in enumerate(calls):
        if number % 256 == 0 and time.monotonic() > until:
            return
        yield call


def _reached(policy: Policy, tried: replay.Comparison) -> list[str]:
    """Rules of the draft that decided no call."""
    return [rule.id for rule in policy.document.rules if not tried.rules.get(rule.id)][:_RULES]


def _whatif(request: Request, values: dict[str, Any], status: int = 200) -> Response:
    shown = {"days_offered": _DAYS, "most": _CALLS, "max_draft": _MAX_DRAFT, **values}
    return view.page(request, "whatif.html", shown, title="What if", status=status)


def _text(loaded: Loaded) -> PolicyText:
    """The YAML of the policy in force, and where its keys stand."""
    if (path := loader.configured_file(loaded)) is not None:
        try:
            text = yamlfile.read_text(path)
            lines = yamlfile.parse_mapping(text, str(path))[1]
        except ConfigError:
            return PolicyText("", str(path), {})
        return PolicyText(text, str(path), lines, "policy." if "policy" in lines and "rules" not in lines else "")
    if loaded.policy is not None:
        text = yaml.safe_dump(loaded.policy.tree, sort_keys=False, allow_unicode=True)
        return PolicyText(text, loaded.policy.source, loaded.policy.lines)
    return PolicyText("", "", {})


ROUTES: Final = [
    Route("/policy", rules),
    Route("/policy/whatif", whatif),
    Route("/policy/whatif", try_draft, methods=["POST"]),
]
