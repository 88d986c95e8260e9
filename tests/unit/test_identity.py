import asyncio
import enum
import uuid

import pytest

from cylestio_monitor.identity import Identity, current, identify


class Role(enum.Enum):
    ADMIN = "admin"


class Name(str, enum.Enum):
    ANN = "ann"


USER = uuid.UUID(int=7)


@pytest.mark.parametrize(
    ("given", "roles"),
    [
        ("guest", ("guest",)),
        (["guest", "staff"], ("guest", "staff")),
        ({"guest": 1}, ("guest",)),
        ([Role.ADMIN, Name.ANN, 7], ("admin", "ann", "7")),
        ([], ()),
    ],
)
def test_roles_are_texts_and_one_text_is_one_role(given, roles):
    assert Identity(roles=given).roles == roles
    with identify(roles=given):
        assert current().roles == roles
        assert all(type(role) is str for role in current().roles)


@pytest.mark.parametrize(("given", "name"), [(7, "7"), (USER, str(USER)), (Name.ANN, "ann"), ("", ""), (None, None)])
@pytest.mark.parametrize("field", ["user_id", "session_id", "agent_id", "conversation_id"])
def test_names_are_texts(field, given, name):
    with identify(**{field: given}):
        assert getattr(current(), field) == name
        assert type(getattr(current(), field)) is type(name)


def test_an_inner_block_adds_to_the_outer_and_leaves_it_as_it_was():
    with identify(agent_id="a", session_id="s"):
        with identify(session_id="t", user_id="u"):
            assert current() == Identity("a", "t", "u", None)
        assert current() == Identity("a", "s", None, None)
    assert current() == Identity()


def test_tasks_do_not_see_each_others_identity():
    async def work(name: str) -> str | None:
        with identify(session_id=name):
            await asyncio.sleep(0)
            return current().session_id

    async def both() -> list[str | None]:
        return await asyncio.gather(work("one"), work("two"))

    assert asyncio.run(both()) == ["one", "two"]
