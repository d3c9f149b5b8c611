"""Whether the paper's tables agree with themselves and with each other: marks, sample counts, common cells."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hycam_exp.data.table1 import Dataset
from hycam_exp.report.claims.evidence import PEFT_BASELINES, Scoreboard
from hycam_exp.report.claims.statements import Claim, Finding, told, unknown
from hycam_exp.report.published import ROUNDING, Published, PublishedCell
from hycam_exp.report.select import OURS

_PLACES = {1: "best", 2: "second"}


@dataclass(frozen=True)
class WrongMark:
    """A cell whose mark is not what the printed values give."""

    text: str
    is_certain: bool
    """No digits behind the printed ones could make it right."""


def wrong_marks(cells: Sequence[PublishedCell], board: Scoreboard) -> list[WrongMark]:
    """The cells that are not marked as their values are: best, second best, or starred without an improvement."""
    found = []
    for cell in cells:
        right = _PLACES.get(board.place(cell.method, cell.column, cell.metric), "")
        first, last = board.places(cell.method, cell.column, cell.metric)
        name = f"{cell.place} {cell.printed} {cell.column} {cell.metric} {cell.value:.3f}"
        if cell.mark != right:
            possible = {_PLACES.get(place, "") for place in range(first, last + 1)}
            text = f"{name} is marked {cell.mark or 'nothing'}, not {right or 'nothing'}"
            found.append(WrongMark(text, cell.mark not in possible))
        if cell.starred and not _improves(cell, board):
            found.append(WrongMark(f"{name} is starred, and not above the best PEFT baseline", True))
    return found


def _improves(cell: PublishedCell, board: Scoreboard) -> bool:
    return cell.method == OURS and board.better(PEFT_BASELINES).get((cell.column, cell.metric), False)


def _marks(name: str) -> Callable[[Published], Finding]:
    def check(published: Published) -> Finding:
        wrong = wrong_marks(published.tables[name], published.scoreboard(name))
        certain = sum(mark.is_certain for mark in wrong)
        texts = [
            mark.text + ("" if mark.is_certain else " (a tie as printed: digits not shown may say)") for mark in wrong
        ]
        values = {"inconsistent": len(wrong), "certain": certain, "cells": len(published.tables[name])}
        return told(not certain, "; ".join(texts) or "all marks are consistent", values)

    return check


def implausible(row: Dataset) -> str | None:
    """Why a row's number of samples is not its tokens over their average; None where rounding allows it."""
    fewest = math.ceil(row.total_tokens / (row.average + row.rounding))
    most = math.floor(row.total_tokens / (row.average - row.rounding))
    if fewest <= row.samples <= most:
        return None
    return (
        f"{row.place} {row.task} has {row.samples:,} samples, its tokens and their average give {fewest:,} to {most:,}"
    )


def _sample_counts(published: Published) -> Finding:
    wrong = [reason for row in published.datasets if (reason := implausible(row))]
    values = {"inconsistent": len(wrong), "rows": len(published.datasets)}
    return told(not wrong, "; ".join(wrong) or "all rows agree", values)


def _common_backbone(published: Published) -> Finding:
    first, second = published.scoreboard("table2_main"), published.scoreboard("table3_qwen_sizes")
    shared = [key for key in first.values if key in second.values]
    if not shared:
        return unknown("they share none")
    differing = [key for key in shared if first.values[key] != second.values[key]]
    named = "; ".join(f"{' '.join(key)}: {first.values[key]:g}, {second.values[key]:g}" for key in differing)
    agree = f"all {len(shared)} values of {', '.join(dict.fromkeys(key[1] for key in shared))} agree"
    return told(not differing, named or agree, {"differing": len(differing), "shared": len(shared)})


def _common_ablation(published: Published) -> Finding:
    main = published.scoreboard("table2_main").values.get((OURS, "llama2_7b", "ppl"))
    ablation = published.ablation[OURS]
    if main is None:
        return unknown(f"Table 2: no such column, Table 6: {ablation}")
    return told(main == ablation, f"Table 2: {main}, Table 6: {ablation}", {"table2": main, "table6": ablation})


def _average_of_tasks(published: Published) -> Finding:
    """Table 2 says "average performance across all tasks"; Table 5 has the tasks."""
    main = published.scoreboard("table2_main").of_column("llama2_7b").values
    counts = dict.fromkeys(_WAYS, 0.0)
    for (method, _, metric), value in main.items():
        rows = _of_tasks(published, method, metric)
        for name, way in _WAYS.items():
            counts[name] += bool(rows) and abs(way(rows) - value) <= 2 * ROUNDING + _EXACT
    if not main:
        return unknown("Table 2 has no such column")
    text = f"of {len(main)} values these give: {', '.join(f'{name} {n:.0f}' for name, n in counts.items())}"
    return told(max(counts.values()) == len(main), text, counts)


@dataclass(frozen=True)
class _Task:
    """A task's score, with its records and tokens in Table 1."""

    score: float
    samples: int
    tokens: int


def _of_tasks(published: Published, method: str, metric: str) -> list[_Task]:
    scores = published.scoreboard("table5_tasks_llama2_7b").values
    return [
        _Task(scores[method, row.task, metric], row.samples, row.total_tokens)
        for row in published.datasets
        if (method, row.task, metric) in scores
    ]


def _weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


_EXACT = 1e-9
_WAYS: dict[str, Callable[[Sequence[_Task]], float]] = {
    "mean over tasks": lambda rows: _weighted([r.score for r in rows], [1.0] * len(rows)),
    "weighted by samples": lambda rows: _weighted([r.score for r in rows], [r.samples for r in rows]),
    "weighted by tokens": lambda rows: _weighted([r.score for r in rows], [r.tokens for r in rows]),
    "geometric mean": lambda rows: math.exp(_weighted([math.log(r.score) for r in rows], [1.0] * len(rows))),
    "geometric, by tokens": lambda rows: math.exp(
        _weighted([math.log(r.score) for r in rows], [r.tokens for r in rows])
    ),
}
CLAIMS = [
    Claim(
        id="sample_counts",
        statement="numbers of samples, tokens, and tokens of a sample",
        where="Table 1",
        definition="samples = total tokens / average, within the rounding of the average",
        published=_sample_counts,
    ),
    *(
        Claim(
            id=f"marks_{name.split('_')[0]}",
            statement="the best results are bold, the second-best underlined, improvements starred",
            where=f"Table {name.removeprefix('table')[0]}",
            definition="no mark is certainly wrong: whatever the digits behind the printed values",
            published=_marks(name),
        )
        for name in ("table2_main", "table3_qwen_sizes", "table4_llama32", "table5_tasks_llama2_7b")
    ),
    Claim(
        id="tables_2_and_3",
        statement="one set of results for the backbones that Tables 2 and 3 share",
        where="Tables 2 and 3",
        definition="the same value in both",
        published=_common_backbone,
    ),
    Claim(
        id="tables_2_and_6",
        statement="the ablation's HyCAM is the HyCAM of Table 2 on Llama2-7B",
        where="Tables 2 and 6",
        definition="the same PPL in both",
        published=_common_ablation,
    ),
    Claim(
        id="table_2_from_table_5",
        statement="Table 2 is the average performance across all tasks",
        where="4.2",
        definition="one aggregation of Table 5's tasks gives all values of Table 2's Llama2-7B, within rounding",
        published=_average_of_tasks,
    ),
]
