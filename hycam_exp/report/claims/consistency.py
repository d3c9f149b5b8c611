"""Whether the paper's tables agree with themselves and with each other: marks, sample counts, common cells."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hycam_exp.data.published import Dataset
from hycam_exp.report.baselines import PEFT_BASELINES
from hycam_exp.report.claims.scoreboard import OURS, Scoreboard
from hycam_exp.report.claims.statement import UNKNOWN, Finding, Statement, verdict
from hycam_exp.report.published import ROUNDING, Cell, Published

_MARKS = {1: "best", 2: "second"}
_NUMBERS = {
    "table2_main": "Table 2", "table3_qwen_sizes": "Table 3", "table4_llama32": "Table 4",
    "table5_tasks_llama2_7b": "Table 5",
}  # fmt: skip


def statements(published: Published) -> list[Statement]:
    """What the tables say about each other."""
    return [
        _sample_counts(published.datasets),
        *(_marks(published, name) for name in published.tables),
        _common_backbone(published),
        _common_ablation(published),
        _average_of_tasks(published),
    ]


def wrong_marks(cells: Sequence[Cell], board: Scoreboard) -> list[str]:
    """The cells whose mark is not what their values give: best, second best value, or a star without improvement."""
    found = []
    for cell in cells:
        right = _MARKS.get(board.place(cell.method, cell.column, cell.metric), "")
        name = f"{cell.place} {cell.printed} {cell.column} {cell.metric} {cell.value:.3f}"
        if cell.mark != right:
            found.append(f"{name} is marked {cell.mark or 'nothing'}, not {right or 'nothing'}")
        if cell.starred and not _improves(cell, board):
            found.append(f"{name} is starred, and not above the best PEFT baseline")
    return found


def _improves(cell: Cell, board: Scoreboard) -> bool:
    return cell.method == OURS and board.better(PEFT_BASELINES).get((cell.column, cell.metric), False)


def _marks(published: Published, name: str) -> Statement:
    wrong = wrong_marks(published.tables[name], published.scoreboard(name))
    return Statement(
        id=f"marks_{name.split('_')[0]}",
        statement="the best results are bold, the second-best underlined, improvements starred",
        where=_NUMBERS[name],
        definition="every mark follows from the printed values; equal values share a mark",
        published=Finding(
            verdict=verdict(not wrong),
            text="; ".join(wrong) or "all marks are consistent",
            values={"inconsistent": len(wrong), "cells": len(published.tables[name])},
        ),
    )


def implausible(row: Dataset) -> str | None:
    """Why a row's number of samples is not its tokens over their average; None where rounding allows it."""
    fewest = math.ceil(row.total_tokens / (row.average + row.rounding))
    most = math.floor(row.total_tokens / (row.average - row.rounding))
    if fewest <= row.samples <= most:
        return None
    return (
        f"{row.place} {row.task} has {row.samples:,} samples, its tokens and their average give {fewest:,} to {most:,}"
    )


def _sample_counts(datasets: Sequence[Dataset]) -> Statement:
    wrong = [reason for row in datasets if (reason := implausible(row))]
    return Statement(
        id="sample_counts",
        statement="numbers of samples, tokens, and tokens of a sample",
        where="Table 1",
        definition="samples = total tokens / average, within the rounding of the average",
        published=Finding(
            verdict=verdict(not wrong),
            text="; ".join(wrong) or "all rows agree",
            values={"inconsistent": len(wrong), "rows": len(datasets)},
        ),
    )


def _common_backbone(published: Published) -> Statement:
    first, second = published.scoreboard("table2_main"), published.scoreboard("table3_qwen_sizes")
    shared = [key for key in first.values if key in second.values]
    differing = [key for key in shared if first.values[key] != second.values[key]]
    named = "; ".join(f"{' '.join(key)}: {first.values[key]:g}, {second.values[key]:g}" for key in differing)
    return Statement(
        id="tables_2_and_3",
        statement="one set of results for the backbones that Tables 2 and 3 share",
        where="Tables 2 and 3",
        definition="the same value in both",
        published=Finding(
            verdict=verdict(not differing) if shared else UNKNOWN,
            text="they share none"
            if not shared
            else named or f"all {len(shared)} values of {', '.join(dict.fromkeys(key[1] for key in shared))} agree",
            values={"differing": len(differing), "shared": len(shared)},
        ),
    )


def _common_ablation(published: Published) -> Statement:
    main = published.scoreboard("table2_main").values.get((OURS, "llama2_7b", "ppl"))
    ablation = published.ablation[OURS]
    known = {"table2": main, "table6": ablation}
    return Statement(
        id="tables_2_and_6",
        statement="the ablation's HyCAM is the HyCAM of Table 2 on Llama2-7B",
        where="Tables 2 and 6",
        definition="the same PPL in both",
        published=Finding(
            verdict=UNKNOWN if main is None else verdict(main == ablation),
            text=f"Table 2: {'no such column' if main is None else main}, Table 6: {ablation}",
            values={name: value for name, value in known.items() if value is not None},
        ),
    )


def _average_of_tasks(published: Published) -> Statement:
    """Table 2 says "average performance across all tasks"; Table 5 has the tasks."""
    main = published.scoreboard("table2_main").of_column("llama2_7b").values
    counts = dict.fromkeys(_WAYS, 0.0)
    for (method, _, metric), value in main.items():
        rows = _of_tasks(published, method, metric)
        for name, way in _WAYS.items():
            counts[name] += bool(rows) and abs(way(rows) - value) <= 2 * ROUNDING + _EXACT
    found = ", ".join(f"{name} {n:.0f}" for name, n in counts.items())
    return Statement(
        id="table_2_from_table_5",
        statement="Table 2 is the average performance across all tasks",
        where="4.2",
        definition="one aggregation of Table 5's tasks gives all values of Table 2's Llama2-7B, within rounding",
        published=Finding(
            verdict=verdict(max(counts.values()) == len(main)) if main else UNKNOWN,
            text=f"of {len(main)} values these give: {found}",
            values=counts,
        ),
    )


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
