"""The five tasks in one table: what they are, the folders they are found under, and how their rows are read.

Standard library only. E.g. `reading("dolly").fields(row)` are the fields of a row of Dolly.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

from data_prep.conversion import Fields

ANSWERS = ("answer_icliniq", "answer_chatgpt", "answer_chatdoctor")
"""Whose answer of an iCliniq row is kept; the first is the default."""
WHICH = ("preferred", "both")
"""Which answers of a WebGPT comparison are kept; the first is the default."""

Rows = Iterable[tuple[int, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One data set of the paper's Table 1."""

    domain: str
    source: str
    """Whom to cite."""
    hub_id: str
    folders: tuple[str, ...]
    """Names of its folder, in lower case without separators."""


TASKS = {
    "auto_cot": Task(
        domain="logical reasoning",
        source="Zhang et al., 2023",
        hub_id="QingyiSi/Alpaca-CoT",
        folders=("autocot",),
    ),
    "icliniq": Task(
        domain="medical dialogue",
        source="Li et al., 2023",
        hub_id="lavita/ChatDoctor-iCliniq",
        folders=("icliniq", "chatdoctoricliniq"),
    ),
    "dolly": Task(
        domain="closed QA, summaries",
        source="Databricks, 2023",
        hub_id="databricks/databricks-dolly-15k",
        folders=("dolly", "dolly15k", "databricksdolly15k"),
    ),
    "code_alpaca": Task(
        domain="code generation",
        source="Chaudhary, 2023",
        hub_id="sahil2801/CodeAlpaca-20k",
        folders=("codealpaca", "codealpaca20k"),
    ),
    "web_gpt": Task(
        domain="retrieval QA",
        source="Nakano et al., 2021",
        hub_id="openai/webgpt_comparisons",
        folders=("webgpt", "webgptcomparisons"),
    ),
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
    converter = import_module(f"data_prep.{task}")
    if task == "icliniq":
        return Reading(fields=partial(converter.fields, answer=answer), options={"answer": answer})
    if task == "web_gpt" and answers == "both":
        return Reading(fields=converter.answer_fields, rows=converter.answers_of, options={"answers": answers})
    return Reading(fields=converter.fields, options={"answers": answers} if task == "web_gpt" else {})
