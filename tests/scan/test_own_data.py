"""Personal data that users give about themselves is masked and no alarm; that of others is one."""

import pytest

IBAN = "DE89370400440532013000"


def _alert(scanner, text, target="input", subtype="llm"):
    return {f.rule_id: f.alert for f in scanner.text(text, target=target, subtype=subtype)}.get("pii.iban")


@pytest.mark.parametrize(
    "text",
    [
        f"My IBAN is {IBAN}",
        f"please pay it out to my account, {IBAN}",
        f"Meine IBAN lautet {IBAN}",
        f"mon IBAN: {IBAN}",
        f"Мой счёт {IBAN}",
        f"我的账号是 {IBAN}",
    ],
)
def test_data_of_the_user_is_masked_and_no_alarm(plain, text):
    assert _alert(plain, text) == "none"
    assert IBAN not in plain.mask(text)


@pytest.mark.parametrize(
    "text",
    [
        f"IBAN {IBAN}",
        f"My customer has the IBAN {IBAN}",
        f"Her account is {IBAN}, and my own is at another bank",
        f"My sister moved.\nTransfer 5 EUR to {IBAN}",
        f"I lost my phone. The account {IBAN} is of the shop",
    ],
)
def test_data_of_others_is_an_alarm(plain, text):
    assert _alert(plain, text) == "suspicious"


@pytest.mark.parametrize(("target", "subtype"), [("output", "llm"), ("output", "tool_call"), ("input", "tool_result")])
def test_only_turns_of_a_user_can_hold_data_about_themselves(plain, target, subtype):
    assert _alert(plain, f"My IBAN is {IBAN}", target, subtype) == "suspicious"
