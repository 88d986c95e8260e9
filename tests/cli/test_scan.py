"""`cylestio scan`: findings by place, never the text."""

from __future__ import annotations


def test_a_finding_is_named_by_line_and_column_and_the_exit_code_says_so(cylestio, place):
    (place / "notes.txt").write_text("all well\nthen: rm -rf / --no-preserve-root\n")
    answer = cylestio("scan", "notes.txt", "--json")
    assert answer.code == 1
    document = answer.json
    assert document["file"] == "notes.txt"
    finding = next(found for found in document["findings"] if found["category"] == "destructive_command")
    assert (finding["line"], finding["column"]) == (2, 7)
    assert finding["alert"] == "dangerous"
    text = cylestio("scan", "notes.txt")
    assert text.code == 1
    assert "2:7" in text.out
    assert "dangerous" in text.out
    assert "no-preserve-root" not in text.out


def test_harmless_text_gives_nothing(cylestio):
    answer = cylestio("scan", "-", stdin="Drop me a line when the dropdown is formatted.\n")
    assert (answer.code, answer.out) == (0, "nothing found\n")


def test_the_users_words_are_obeyed(cylestio, monkeypatch):
    monkeypatch.setenv("CYLESTIO_DANGEROUS_KEYWORDS", "wire transfer")
    answer = cylestio("scan", "-", "--json", stdin="start the wire  transfer now")
    assert answer.code == 1
    assert [found["category"] for found in answer.json["findings"]] == ["keyword"]


def test_bytes_that_are_no_text_are_scanned_all_the_same(cylestio, place):
    (place / "blob").write_bytes(b"\xff\xfe\x00 rm -rf / \xff")
    assert cylestio("scan", "blob").code == 1


def test_a_file_that_cannot_be_read_is_one_line_and_its_own_exit_code(cylestio):
    answer = cylestio("scan", "gone\x1b[2J.txt")
    assert (answer.code, answer.out) == (3, "")
    assert answer.err == "error: gone\\x1b[2J.txt: No such file or directory\n"


def test_a_wrong_command_line_is_answered_without_control_characters(cylestio):
    answer = cylestio("sc\x1b[31man")
    assert answer.code == 2
    assert "\x1b" not in answer.err
    assert "sc\\x1b[31man" in answer.err
