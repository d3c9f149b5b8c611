"""The five tasks in the order of the paper's Table 1, each a file of this folder, and how their rows are read.

Standard library only. A further data set is a file like theirs and a line in `TASKS`.
E.g. `reading("dolly").fields(row)` are the fields of a row of Dolly.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from data_prep import auto_cot, code_alpaca, dolly, icliniq, web_gpt
from data_prep.conversion import Fields

ANSWERS = ("answer_icliniq", "answer_chatgpt", "answer_chatdoctor")
"""Whose answer of an iCliniq row is kept; the first is the default."""
WHICH = ("preferred", "both")
"""Which answers of a WebGPT comparison are kept; the first is the default."""

Rows = Iterable[tuple[int, Any]]


TASKS = {
    "auto_cot": auto_cot.TASK,
    "icliniq": icliniq.TASK,
    "dolly": dolly.TASK,
    "code_alpaca": code_alpaca.TASK,
    "web_gpt": web_gpt.TASK,
}


def _as_they_are(rows: Rows, source: str) -> Rows:
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a source's rows become fields: what a row is, its converter, and the options to be recorded."""

    fields: Callable[[Any], Fields]
    rows: Callable[[Rows, str], Rows] = _as_they_are
    options: Mapping[str, str] = field(default_factory=dict)


def reading(task: str, answer: str = ANSWERS[0], answers: str = WHICH[0]) -> Reading:
    """How the rows of one of the five tasks are read.

    Raises:
        ValueError: an option has an unknown value, or belongs to another task.
    """
    for name, value, allowed, of in (("answer", answer, ANSWERS, "icliniq"), ("answers", answers, WHICH, "web_gpt")):
        if value not in allowed:
            raise ValueError(f"--{name} {value}: must be one of {', '.join(allowed)}")
        if value != allowed[0] and task != of:
            raise ValueError(f"--{name} {value}: {name} can be chosen for {of} only, not for {task}")
    if task == "icliniq":
        return Reading(fields=partial(icliniq.fields, answer=answer), options={"answer": answer})
    if task == "web_gpt" and answers == "both":
        return Reading(fields=web_gpt.answer_fields, rows=web_gpt.answers_of, options={"answers": answers})
    return Reading(fields=TASKS[task].fields, options={"answers": answers} if task == "web_gpt" else {})
