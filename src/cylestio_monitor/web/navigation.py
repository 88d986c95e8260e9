"""The navigation of the web UI: every page it may lead to, in its order, with the key that opens it."""

from __future__ import annotations

from typing import Final, NamedTuple


class NavigationItem(NamedTuple):
    """One entry of the navigation.

    Attributes:
        label: The text of the link.
        path: The page.
        icon: Name of a symbol in `templates/icons.html`.
        key: The letter that opens the page after ``g``.
        group: The heading it stands under; empty for the first group.
        counted: The number beside it: a field of `store.read.triage.attention.Waiting`; empty for none.
        below: First part of the paths of other pages that belong to it.
    """

    label: str
    path: str
    icon: str
    key: str
    group: str = ""
    counted: str = ""
    below: str = ""


ITEMS: Final = (
    NavigationItem("Overview", "/", "home", "o"),
    NavigationItem("Findings", "/findings", "alert", "f", counted="groups"),
    NavigationItem("Runs", "/runs", "list", "r", below="/t/"),
    NavigationItem("Sessions", "/sessions", "chat", "s", below="/s/"),
    NavigationItem("Users", "/users", "people", "u"),
    NavigationItem("Approvals", "/approvals", "clock", "a", "Control", "approvals"),
    NavigationItem("Tools", "/tools", "tool", "t", "Control", below="/tool-graph"),
    NavigationItem("Policy", "/policy", "shield", "p", "Control"),
    NavigationItem("Incidents", "/incidents", "flag", "i", "Control", "incidents"),
    NavigationItem("Delivery and cost", "/delivery", "send", "d", "System"),
    NavigationItem("Audit trail", "/audit", "chain", "c", "System"),
    NavigationItem("Settings", "/settings", "gear", "e", "System"),
)
"""Every entry."""


def current(path: str) -> str:
    """The path of the entry that a page belongs to; empty for none."""
    for item in ITEMS:
        is_below = item.path != "/" and path.startswith(f"{item.path}/")
        if path == item.path or is_below or (item.below and path.startswith(item.below)):
            return item.path
    return ""
