"""The work for one chunk of a streamed answer does not grow with the chunks before it."""

import sys

import pytest

PIECES = {
    "clean": "The northern warehouse sends its report on Mondays. ",
    "an address": "Write to sara.lindholm@northwind-traders.example, ",
    "two rules": "Card 4111 1111 1111 1111 belongs to joe@acme.example. ",
}


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_the_calls_for_a_chunk_do_not_grow_with_the_findings_before_it(engine, piece, request):
    scanner = request.getfixturevalue(engine)
    text = piece * 20

    def calls(chunks):
        counted = 0

        def count(_frame, event, _argument):
            nonlocal counted
            counted += event in {"call", "c_call"}

        stream = scanner.stream(target="output", subtype="llm", path="content[0]")
        sys.setprofile(count)
        try:
            found = sum(len(stream.feed(text)) for _ in range(chunks)) + len(stream.finish())
        finally:
            sys.setprofile(None)
        return counted / chunks, found / chunks

    few, found = calls(5)
    many, as_many = calls(60)
    assert many < few * 1.2
    assert as_many == pytest.approx(found, rel=0.1)
