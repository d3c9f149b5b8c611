"""Prompt templates as data: what stands before the response. Standard library only."""

from dataclasses import dataclass
from typing import Any

from hycam_exp.data.records import Record

CHAT = "chat"
CHAT_DATE = "26 Jul 2024"
"""The date of templates that show one: a prompt must not depend on the day."""


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


def render(style: str, record: Record, tokenizer: Any = None) -> str:
    """The text before the response; for `chat` by the template of the tokenizer.

    Raises:
        ValueError: the tokenizer has no chat template.
    """
    if style != CHAT:
        return TEMPLATES[style].prompt(record)
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            f"data.prompt=chat: {getattr(tokenizer, 'name_or_path', tokenizer)} has no chat template; "
            f"{', '.join(TEMPLATES)} need none"
        )
    messages = [{"role": "user", "content": question(record)}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, date_string=CHAT_DATE)


def question(record: Record) -> str:
    """What the user says in a chat: the instruction, and the input below it."""
    return f"{record.instruction}\n\n{record.input}" if record.input else record.instruction
