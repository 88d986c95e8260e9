"""Private keys are masked to their last line, however long they are."""

import base64
import random

import pytest


def armoured(size, kind="RSA ", newline="\n"):
    material = b"\x30\x82" + size.to_bytes(2, "big") + b"\x02\x01\x00" + random.Random(size).randbytes(size - 7)
    text = base64.b64encode(material).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return newline.join([f"-----BEGIN {kind}PRIVATE KEY-----", *lines, f"-----END {kind}PRIVATE KEY-----"])


@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\\n"], ids=["lines", "windows", "escaped"])
@pytest.mark.parametrize("size", [600, 1_200, 2_400, 3_000, 3_600, 4_600])
def test_nothing_of_a_long_key_stays(engine, size, newline, request):
    scanner = request.getfixturevalue(engine)
    key = armoured(size, newline=newline)
    masked = scanner.mask(f"Here it is:{newline}{key}{newline}Thanks (all of you).")
    lines = key.split(newline)[1:-1]
    assert not [line for line in lines if line[:20] in masked]
    assert masked.endswith("Thanks (all of you).")


def test_a_short_key_is_one_finding(plain):
    (finding,) = plain.text(armoured(1_200), target="input", subtype="llm")
    assert finding.rule_id == "secret.private-key"


def test_the_end_of_a_key_is_found_without_its_beginning(plain):
    tail = "\n".join(armoured(1_200).split("\n")[5:])
    (finding,) = plain.text(f"...{tail}", target="input", subtype="tool_result")
    assert (finding.rule_id, finding.severity) == ("secret.private-key-end", "critical")


def test_the_end_of_a_certificate_is_no_key(plain):
    lines = armoured(1_200).split("\n")[5:-1]
    assert not plain.text("\n".join([*lines, "-----END CERTIFICATE-----"]), target="input", subtype="llm")
