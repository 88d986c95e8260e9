"""An answer that repeats the system prompt of its call is found; what it is meant to say is not."""

import time

import pytest

from cylestio_monitor import config
from cylestio_monitor.inspection import Inspection, SeenParts
from cylestio_monitor.model import Call, Message, Part, Result
from cylestio_monitor.scan import Scanner

PROMPT = (
    "You are Ada, who answers for Acme. Never speak about prices of other shops, and never name the people "
    "who work in the warehouse in Leeds. Refunds above fifty pounds need the word of a manager."
)
LEAK = "never speak about prices of other shops, and never name the people who work in the warehouse"


def _inspect(scanner, answer, *, prompt=PROMPT, chunks=0):
    call = Call(
        "chat", "chat m", system=[Part("text", prompt)], messages=[Message("user", [Part("text", "hi", path="u")])]
    )
    inspection = Inspection(scanner, SeenParts(), redact=scanner.mask)
    inspection.call(call)
    assert inspection.found is None
    if chunks:
        for start in range(0, len(answer), chunks):
            inspection.streamed("content[0]", "llm", list).add(answer[start : start + chunks])
    inspection.result(Result(messages=[Message("assistant", [Part("text", answer, path="content[0]")])]))
    return inspection.found.peek_new() if inspection.found is not None else []


@pytest.mark.parametrize("chunks", [0, 7, 600])
def test_a_repeated_part_is_found_once_and_in_its_place(plain, chunks):
    answer = "Well. " * 200 + "My orders are: " + LEAK.upper().replace(",", " -") + ". " + "So it is. " * 200
    (finding,) = _inspect(plain, answer, chunks=chunks)
    assert (finding.rule_id, finding.category, finding.alert) == (
        "prompt.repeated",
        "system_prompt_leakage",
        "suspicious",
    )
    assert (finding.target, finding.subtype, finding.path) == ("output", "llm", "content[0]")
    assert finding.owasp == ("LLM07:2025",)
    assert finding.atlas == ("AML.T0056",)
    got = answer[finding.start : finding.end].lower()
    assert got.startswith("never speak about prices of other shops")
    assert "warehouse".startswith(got.rsplit(maxsplit=1)[-1]) or got.endswith("warehouse")


@pytest.mark.parametrize("chunks", [0, 9])
def test_most_of_the_sentences_are_found_in_any_order(plain, chunks):
    prompt = "You sell shoes. Be kind to everybody. Never give a discount. Answer in one line only."
    answer = "* answer in one line only\n* never give a discount\n* be kind to everybody"
    (finding,) = _inspect(plain, answer, prompt=prompt, chunks=chunks)
    assert (
        answer[finding.start : finding.end]
        == "answer in one line only\n* never give a discount\n* be kind to everybody"
    )


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (PROMPT, "I am Ada of Acme. I cannot speak about the prices of other shops."),
        (
            'Greet with "Good day and welcome to Acme, the house of shoes, how may I help you today?"',
            "Good day and welcome to Acme, the house of shoes, how may I help you today?",
        ),
        (f"Use the context.\n<context>{LEAK} and so on</context>", f"The page says: {LEAK}."),
        ("Be brief.", "Be brief."),
        ("", LEAK),
    ],
)
def test_what_is_meant_to_be_said_is_no_leak(plain, prompt, answer):
    assert _inspect(plain, answer, prompt=prompt) == []


def test_scripts_without_blanks_are_read_too(plain):
    prompt = "你是商店的助手。绝对不要告诉任何人折扣代码、也不要谈论其他商店的价格、退款需要经理批准。"
    (finding,) = _inspect(plain, "我的指示。绝对不要告诉任何人折扣代码、也不要谈论其他商店的价格。", prompt=prompt)
    assert finding.rule_id == "prompt.repeated"


def test_the_rule_is_silenced_and_overridden_as_any_other():
    silent = config.RuleSettings(silence=(config.SilenceSettings(rule="prompt.repeated"),))
    scanner = Scanner(config.Settings(rules=silent, scan=config.ScanSettings(engine="python")), key=b"k" * 32)
    assert _inspect(scanner, LEAK) == []
    grave = config.RuleSettings(override=(config.OverrideSettings(rule="prompt.repeated", severity="critical"),))
    scanner = Scanner(config.Settings(rules=grave, scan=config.ScanSettings(engine="python")), key=b"k" * 32)
    assert [finding.alert for finding in _inspect(scanner, LEAK)] == ["dangerous"]


def test_no_answer_makes_the_comparison_slow(plain):
    prompt = "never tell " * 5_000
    watch = plain.watch((prompt,))
    began = time.process_time()
    for answer in ("never tell " * 50_000, "never tell me " * 50_000, "a" * 500_000):
        watch.text(answer, "")
    assert time.process_time() - began < 3
