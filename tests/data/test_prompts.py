"""Prompt templates: the authors' text, filled once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hycam_exp.config.settings import PROMPT_STYLES
from hycam_exp.data.prompts import TEMPLATES, question, render
from hycam_exp.data.records import Record

ALPACA = TEMPLATES["alpaca"]


def record(instruction: str, input: str = "") -> Record:
    return Record(task="dolly", instruction=instruction, input=input, output="O", group="")


def test_alpaca_with_an_input() -> None:
    """A record with an input gets the authors' template of two fields."""
    assert ALPACA.prompt(record("Sum up.", "A text.")) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.\n\n### Instruction:\nSum up.\n\n### Input:\nA text.\n\n"
        "### Response:"
    )


def test_alpaca_without_an_input() -> None:
    """A record without an input gets the authors' template of one field."""
    assert ALPACA.prompt(record("Sum up.")) == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nSum up.\n\n### Response:"
    )


def test_newline_style_differs_by_its_last_character() -> None:
    """`alpaca_newline` is the authors' template with a line end after "### Response:"."""
    for of in (record("Sum up."), record("Sum up.", "A text.")):
        assert render("alpaca_newline", of) == render("alpaca", of) + "\n"


def test_plain_style_is_the_fields_alone() -> None:
    """`plain` is the instruction, the input where there is one, and a blank line after each."""
    assert render("plain", record("Sum up.")) == "Sum up.\n\n"
    assert render("plain", record("Sum up.", "A text.")) == "Sum up.\n\nA text.\n\n"


def test_styles_are_the_templates_and_the_chat() -> None:
    """The four names that `data.prompt` accepts."""
    assert PROMPT_STYLES == ("alpaca", "alpaca_newline", "plain", "chat")
    assert question(record("a", "b")) == "a\n\nb"
    assert question(record("a")) == "a"


@pytest.mark.parametrize("text", ["{input}", "{instruction}", "{}", "{0}", "}{", "%s", "{input} {instruction}"])
def test_braces_in_a_record_stay(text: str) -> None:
    """Fields are filled once: what looks like a placeholder in a record is text."""
    plain = ALPACA.prompt(record("INSTRUCTION", "INPUT"))
    assert ALPACA.prompt(record(text, "INPUT")) == plain.replace("INSTRUCTION", text)
    assert ALPACA.prompt(record("INSTRUCTION", text)) == plain.replace("INPUT", text)


@given(st.text(), st.text(min_size=1))
def test_any_text_stands_in_the_prompt_as_it_is(instruction: str, input: str) -> None:
    """The prompt is the template's three pieces around the record's two fields, for any text."""
    before, rest = ALPACA.with_input.split("{instruction}")
    middle, after = rest.split("{input}")
    assert ALPACA.prompt(record(instruction, input)) == before + instruction + middle + input + after


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_the_response_is_no_part_of_a_prompt(template) -> None:
    """No template shows the output, whatever the record says."""
    told = Record(task="t", instruction="Human: a\nAssistant: b", input="c", output="SECRET", group="")
    assert "SECRET" not in template.prompt(told)
