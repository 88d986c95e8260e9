"""Sign-ins: what is concluded from them, and that nothing else is."""

from __future__ import annotations

import threading

import pytest

from cylestio_monitor.config import AuthenticationSettings
from cylestio_monitor.govern import sign_ins
from cylestio_monitor.govern.sign_ins import (
    MANY_USERS,
    REPEATED_FAILURES,
    ROLE_CHANGE,
    SignIn,
    SignInWatch,
    read_sign_in,
)

S = 1_000_000_000


class Clock:
    """A watch, and a time that the test moves."""

    def __init__(self, **settings):
        self.watch = SignInWatch(AuthenticationSettings(**settings))
        self.now = 1_000_000 * S

    def see(self, after_s=1.0, **data):
        self.now += int(after_s * S)
        return [one.finding for one in self.watch.observe(data, self.now)]


def rules(found):
    return [finding.rule_id for finding in found]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"user": "ada", "granted": False}, SignIn("ada", None, False, None)),
        ({"user_id": 7, "success": True, "ip": "10.0.0.1"}, SignIn("7", "10.0.0.1", True, None)),
        ({"enduser.id": "a", "event.outcome": "Failure"}, SignIn("a", None, False, None)),
        ({"username": "a", "status": "denied", "role": "admin"}, SignIn("a", None, False, frozenset({"admin"}))),
        ({"user": " ", "user.name": "b", "roles": []}, SignIn("b", None, None, frozenset())),
        ({"user": "a", "roles": ["x", "y", "x"]}, SignIn("a", None, None, frozenset({"x", "y"}))),
        ({"user": "a", "result": "pending", "granted": None}, SignIn("a", None, None, None)),
        ({"user": "a", "granted": True, "outcome": "failure"}, SignIn("a", None, None, None)),
        ({"user": True, "address": ["10.0.0.1"], "granted": 0}, SignIn(None, None, None, None)),
        ({"user": "x" * 5000, "roles": 3}, SignIn(None, None, None, None)),
        ({}, SignIn(None, None, None, None)),
    ],
)
def test_an_event_says_what_it_says_and_no_more(data, expected):
    assert read_sign_in(data) == expected


def test_repeated_failures_of_one_user_are_one_finding_each_time_the_threshold_is_reached():
    clock = Clock(failures=3)
    seen = [rules(clock.see(user="ada", granted=False)) for _ in range(7)]
    assert seen == [[], [], [REPEATED_FAILURES], [], [], [REPEATED_FAILURES], []]
    assert clock.see(user="bob", granted=False) == []


def test_a_finding_says_where_and_how_often_and_names_nobody():
    clock = Clock(failures=2, window_s=60)
    clock.see(user="ada", granted=False)
    (finding,) = clock.see(user="ada", granted=False)
    assert (finding.category, finding.severity, finding.alert) == ("authentication", "medium", "suspicious")
    assert (finding.target, finding.subtype, finding.path) == ("input", "event", "user_authentication[2].user")
    assert (finding.start, finding.end, finding.reason) == (0, 3, "2 failures in 60 s")
    assert "ada" not in repr(finding)


@pytest.mark.parametrize(("apart", "found"), [(29, True), (31, False)])
def test_failures_count_within_the_window_only(apart, found):
    clock = Clock(failures=3, window_s=60)
    assert bool([clock.see(apart, user="ada", granted=False) for _ in range(3)][-1]) is found


@pytest.mark.parametrize("data", [{"granted": True}, {}, {"outcome": "later"}, {"granted": False, "user": ""}])
def test_what_is_no_failure_of_a_user_does_not_count(data):
    clock = Clock(failures=1, users=0)
    assert clock.see(**{"user": "ada", **data}) == []


def test_many_users_from_one_address_are_a_finding():
    clock = Clock(users=4)
    seen = [clock.see(user=f"u{number % 4}", address="10.0.0.9", granted=False) for number in range(4)]
    assert rules(seen[-1]) == [MANY_USERS]
    (finding,) = seen[-1]
    assert (finding.severity, finding.path) == ("medium", "user_authentication[4].address")
    assert finding.reason == "4 users in 600 s, 4 with failures"


def test_people_who_share_an_address_and_succeed_are_a_finding_of_low_severity():
    clock = Clock(users=4)
    found = [clock.see(user=f"u{number}", address="10.0.0.9", granted=True) for number in range(4)][-1]
    assert [(finding.rule_id, finding.severity) for finding in found] == [(MANY_USERS, "low")]


def test_one_user_many_times_and_many_addresses_are_not_many_users_from_one_address():
    clock = Clock(users=3, failures=0)
    assert [clock.see(user="ada", address="10.0.0.9", granted=False) for _ in range(9)] == [[]] * 9
    assert [clock.see(user=f"u{n}", address=f"10.0.1.{n}", granted=False) for n in range(9)] == [[]] * 9
    clock = Clock(users=3, window_s=60)
    assert [clock.see(40, user=f"u{n}", address="10.0.0.9", granted=True) for n in range(9)] == [[]] * 9


@pytest.mark.parametrize(
    ("before", "after", "severity"),
    [
        (["staff"], ["staff", "admin"], "medium"),
        (["staff"], ["admin"], "medium"),
        (["staff", "admin"], ["staff"], "low"),
        (["staff"], [], "low"),
        ([], ["staff"], "medium"),
        (["a", "b"], ["b", "a"], None),
        ("admin", ["admin"], None),
    ],
)
def test_other_roles_than_last_time_are_a_finding(before, after, severity):
    clock = Clock()
    assert clock.see(user="ada", granted=True, roles=before) == []
    found = clock.see(user="ada", granted=True, roles=after)
    assert [finding.severity for finding in found if finding.rule_id == ROLE_CHANGE] == [severity] * bool(severity)
    assert clock.see(user="ada", granted=True, roles=after) == []


@pytest.mark.parametrize("between", [{}, {"granted": False, "roles": ["admin"]}, {"roles": None}])
def test_an_event_that_says_nothing_of_roles_changes_none(between):
    clock = Clock(failures=0)
    clock.see(user="ada", granted=True, roles=["staff"])
    assert clock.see(user="ada", **between) == []
    assert clock.see(user="ada", granted=True, roles=["staff"]) == []


def test_each_conclusion_can_be_switched_off():
    clock = Clock(failures=0, users=0, role_changes=False)
    for number in range(20):
        assert clock.see(user="ada", address="a", granted=False) == []
        assert clock.see(user=f"u{number}", address="a", granted=False) == []
        assert clock.see(user="ada", granted=True, roles=[str(number)]) == []


def test_memory_is_bounded_and_what_is_forgotten_is_no_statement(monkeypatch):
    monkeypatch.setattr(sign_ins, "_MAX_REMEMBERED", 40)
    clock = Clock(failures=2, users=2)
    clock.see(user="ada", address="home", granted=True, roles=["staff"])
    for number in range(500):
        clock.see(0.01, user=f"u{number}", address=f"a{number}", granted=False)
        clock.see(0.01, user=f"v{number}", granted=True, roles=[f"r{number}"])
    watch = clock.watch
    assert (len(watch._failures), len(watch._addresses), len(watch._roles)) == (20, 20, 4)
    assert clock.see(user="ada", granted=True, roles=["admin"]) == []


def test_threads_lose_no_failure():
    watch = SignInWatch(AuthenticationSettings(failures=5))
    found = []

    def fail():
        for _ in range(100):
            found.extend(watch.observe({"user": "ada", "granted": False}, 5 * S))

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert len({one.finding.path for one in found}) == 160
