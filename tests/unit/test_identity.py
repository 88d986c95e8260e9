import asyncio

from cylestio_monitor.identity import Identity, current, identify


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
