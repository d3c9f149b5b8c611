"""Prompt templates as data: what stands before the response. Standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hycam_exp.data.records import Record
from hycam_exp.runtime.interruption import limited

CHAT = "chat"
CHAT_DATE = "26 Jul 2024"
"""The date of templates that show one: a prompt must not depend on the day."""
TEMPLATE_SECONDS = 10.0  # that one rendering may take; a template is a program, and may never end


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with and without an input; the response follows at once, with no separator."""

    with_input: str
    without_input: str

    def prompt(self, record: Record) -> str:
        """The text before the response."""
        template = self.with_input if record.input else self.without_input
        return _fill(template, record)


def _fill(template: str, record: Record) -> str:
    """The template with its fields filled once, so that braces in a record stay as they are."""
    before, _, rest = template.partition("{instruction}")
    middle, has_input, after = rest.partition("{input}")
    return before + record.instruction + middle + (record.input if has_input else "") + after


# The authors' template: it decides every token count of the paper's Table 1.
_ALPACA = Template(
    with_input=(
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
    ),
    without_input=(
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Response:"
    ),
)
TEMPLATES = {
    "alpaca": _ALPACA,
    "alpaca_newline": Template(_ALPACA.with_input + "\n", _ALPACA.without_input + "\n"),
    "plain": Template("{instruction}\n\n{input}\n\n", "{instruction}\n\n"),
}
STYLES = (*TEMPLATES, CHAT)


def _strftime_now() -> str:
    """A macro that shadows transformers' `strftime_now`, which a template asks for today: `CHAT_DATE` at midnight.

    Templates are given no function of ours, so the directives of a format are replaced one by one.
    """
    day = datetime(2024, 7, 26)
    shown = {f"%{letter}": day.strftime(f"%{letter}") for letter in "aAbBcdfHIjmMpSUwWxXyYzZ"}
    shown |= {f"%-{letter}": shown[f"%{letter}"].lstrip("0") or "0" for letter in "dHIjmMSy"}
    replaced = "".join(f".replace({directive!r}, {text!r})" for directive, text in shown.items())
    # The line end is taken away with the block's end, and what follows still begins a line, as by itself.
    return "{% macro strftime_now(format) %}{{ format" + replaced + " }}{% endmacro %}\n"


_STRFTIME_NOW = _strftime_now()


def render(style: str, record: Record, tokenizer: Any = None) -> str:
    """The text before the response; for `chat` by the template of the tokenizer.

    Raises:
        ValueError: the tokenizer has no chat template, or one that cannot render the record.
    """
    if style != CHAT:
        return TEMPLATES[style].prompt(record)
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            f"data.prompt=chat: {getattr(tokenizer, 'name_or_path', tokenizer)} has no chat template; "
            f"{', '.join(TEMPLATES)} need none"
        )
    return rendered(tokenizer, [{"role": "user", "content": question(record)}], add_generation_prompt=True)


def rendered(tokenizer: Any, messages: Sequence[dict[str, str]], add_generation_prompt: bool) -> str:
    """A chat by the tokenizer's template, on the fixed date.

    Raises:
        ValueError: the template does not parse, raises, or does not end.
    """
    try:
        with limited(TEMPLATE_SECONDS, "it"):
            return tokenizer.apply_chat_template(
                messages, chat_template=_STRFTIME_NOW + tokenizer.get_chat_template(), tokenize=False,
                add_generation_prompt=add_generation_prompt, date_string=CHAT_DATE,
            )  # fmt: skip
    except Exception as error:  # a template is a program: what it raises has no common class
        reason = " ".join(str(error).split())
        raise ValueError(
            f"data.prompt=chat: the chat template of {tokenizer.name_or_path} cannot render a chat "
            f"({type(error).__name__}: {reason}); {', '.join(TEMPLATES)} need none"
        ) from error


def question(record: Record) -> str:
    """What the user says in a chat: the instruction, and the input below it."""
    return f"{record.instruction}\n\n{record.input}" if record.input else record.instruction
