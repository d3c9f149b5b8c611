"""Prompt templates as data: what stands before the response. Standard library only."""

from dataclasses import dataclass

from hycam_exp.data.records import Record


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
TEMPLATES = {
    "alpaca": Template(
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
    ),
}
