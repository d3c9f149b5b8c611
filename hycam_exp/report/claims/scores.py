"""The paper's claims about scores: on average, over PEFT, by size, by task, by component, on general text."""

from collections.abc import Callable, Mapping, Sequence

from hycam_exp.evaluation.metrics import declared
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.report.claims.evidence import (
    BASELINES,
    PEFT_BASELINES,
    BackboneEvidence,
    Evidence,
    Scoreboard,
    methods_in,
)
from hycam_exp.report.claims.statements import Claim, Finding, listed, told, unknown
from hycam_exp.report.published import ROUNDING, SCORES, VARIANTS, Published
from hycam_exp.report.select import OURS
from hycam_exp.report.statistics.significance import compare, with_holm

CLAIMED = 3.65
"""The average improvement in percent that the paper's abstract states."""
MAIN, SIZES, SMALL, TASKS = "table2_main", "table3_qwen_sizes", "table4_llama32", "table5_tasks_llama2_7b"
HARD = ("icliniq", "dolly")
_NO_SHARE = "a baseline's score is 0, of which nothing is a percentage"
_WAYS = {
    "best of all baselines": BASELINES,
    "best PEFT baseline": PEFT_BASELINES,
    "best without RieMoE-LoRA": tuple(name for name in BASELINES if name != "riemoe_lora"),
}


def _mean(values: Mapping[tuple[str, str], float]) -> float:
    return sum(values.values()) / len(values)


def _average(board: Scoreboard, error: float = 0.0) -> Finding:
    cells = {name: board.better(methods) for name, methods in _WAYS.items()}
    if not all(cells.values()):
        return unknown("not all baselines were run")
    gains = {name: board.improvements(methods) for name, methods in _WAYS.items()}
    bounds = [board.improvements(BASELINES, sign * error) for sign in (-1, 1)]
    if any(cells[name].keys() != gains[name].keys() for name in _WAYS) or not all(bounds):
        return unknown(_NO_SHARE)
    values = {name: _mean(found) for name, found in gains.items()}
    low, high = map(_mean, bounds)
    if not error:
        return told(values["best of all baselines"] >= CLAIMED, listed(values), values)
    text = f"{listed(values)}; rounding allows {low:.2f} to {high:.2f}"
    return told(low <= CLAIMED <= high, text, {**values, "low": low, "high": high})


def _better(boards: Sequence[Scoreboard], baselines: Sequence[str], share: float = 1.0) -> Finding:
    """HyCAM is better than the best of the baselines in a share of all cells; what two tables share counts once."""
    found = [cell for board in boards for cell in board.better(baselines).items()]
    cells = dict(found)
    if not cells:
        return unknown("the baselines were not run")
    better = sum(cells.values())
    text = f"better in {better} of {len(cells)} cells"
    if len(found) > len(cells):
        text += f" ({len(found)} with those that stand in two tables)"
    return told(better >= share * len(cells), text, {"better": better, "cells": len(cells)})


def _better_in(tables: Sequence[str], baselines: Sequence[str], share: float = 1.0) -> Callable[[Published], Finding]:
    return lambda published: _better([published.scoreboard(name) for name in tables], baselines, share)


def _significance(mix: Evidence) -> Finding:
    pairs = [(backbone, metric) for backbone in mix.backbones for metric in SCORES]
    found = with_holm([compare(b.hycam, b.rows(PEFT_BASELINES), metric) for b, metric in pairs])
    if any(c.p is None for c in found):
        return unknown("; ".join(dict.fromkeys(c.reason or "" for c in found)))
    stars, uncorrected = sum(c.star for c in found), sum(c.uncorrected_star for c in found)
    worse = sum(c.is_worse for c in found)
    text = f"starred in {stars} of {len(found)} cells, {uncorrected} without correction; significantly worse in {worse}"
    values = {"stars": stars, "uncorrected": uncorrected, "worse": worse, "cells": len(found)}
    return told(stars == len(found), text, values)


def _over_each(board: Scoreboard) -> Finding:
    cells = {name: board.better([name]) for name in PEFT_BASELINES}
    if not all(cells.values()):
        return unknown("not all baselines were run")
    gains = {name: board.improvements([name]) for name in PEFT_BASELINES}
    values = {name: _mean(gains[name]) for name in cells if gains[name].keys() == cells[name].keys()}
    better = all(is_better for found in cells.values() for is_better in found.values())
    return told(better, f"on average {listed(values)}" if len(values) == len(cells) else _NO_SHARE, values)


def _growth(table: str, metrics: Sequence[str]) -> Claim:
    """HyCAM's improvement by size, in the order of the table's columns."""

    def check(board: Scoreboard, order: Sequence[str]) -> Finding:
        gains = board.improvements(PEFT_BASELINES)
        sizes = [column for column in order if all((column, metric) in gains for metric in metrics)]
        if len(sizes) < 2:
            return unknown("fewer than two sizes")
        values = {size: sum(gains[size, metric] for metric in metrics) / len(metrics) for size in sizes}
        return told(_grows(list(values.values())), listed(values), values)

    def of_paper(published: Published) -> Finding:
        return check(published.scoreboard(table), published.scoreboard(table).columns)

    what, family = ("PPL" if len(metrics) == 1 else "all metrics"), "Qwen2.5" if table == SIZES else "Llama 3.2"
    return Claim(
        id=f"growth_{'ppl' if len(metrics) == 1 else 'mean'}_{'qwen2_5' if table == SIZES else 'llama3_2'}",
        statement=f"HyCAM's advantage grows with the size of the backbone: {what}, {family}",
        where=f"4.3, Table {3 if table == SIZES else 4}",
        definition="the improvement over the best PEFT baseline, as the mean over these metrics:"
        " the largest size gains more than the smallest, and more pairs of sizes rise than fall",
        published=of_paper,
        of_mix=lambda mix: check(mix.scoreboard(), _IN_ORDER[table]),
    )


_IN_ORDER = {
    SIZES: ("qwen2_5_0_5b", "qwen2_5_1_5b", "qwen2_5_3b", "qwen2_5_7b", "qwen2_5_14b"),
    SMALL: ("llama3_2_1b", "llama3_2_3b"),
}


def _grows(values: Sequence[float]) -> bool:
    pairs = [(small, large) for i, small in enumerate(values) for large in values[i + 1 :]]
    return values[-1] > values[0] and sum((a < b) - (a > b) for a, b in pairs) > 0


def _tasks(boards: Sequence[Scoreboard]) -> Finding:
    places = {(*cell, i): board.place(OURS, *cell) for i, board in enumerate(boards) for cell in board.cells}
    behind = [f"{task} {metric} ({place})" for (task, metric, _), place in places.items() if place > 2]
    if not places or not all(len(methods_in(board.methods)) > 2 for board in boards):
        return unknown("fewer than two baselines were run")
    text = f"best or second in {len(places) - len(behind)} of {len(places)} cells"
    shown = f"; not in {', '.join(behind)}" if 0 < len(behind) <= 3 else ""
    counts = {name: sum(p == n for p in places.values()) for n, name in ((1, "best"), (2, "second"))}
    return told(not behind, text + shown, {**counts, "cells": len(places)})


def _hard_tasks(boards: Sequence[Scoreboard]) -> Finding:
    holds, texts = True, []
    for board in boards:
        if not set(HARD) < set(board.columns):
            return unknown(f"no scores of {' and '.join(HARD)} beside other tasks")
        for metric in SCORES:
            scores = {task: list(board.scores(task, metric).values()) for task in board.columns}
            if not all(scores.values()):
                return unknown(f"a task without {metric}")
            means = {task: sum(values) / len(values) for task, values in scores.items()}
            order = sorted(means, key=lambda task: means[task], reverse=declared(metric).better == "lower")
            worst = order[: len(HARD)]
            holds &= set(worst) == set(HARD)
            texts.append(f"{metric}: {', '.join(worst)}")
    return told(holds, "; ".join(texts))


def _ablation(values: Mapping[str, float]) -> Finding:
    others = {name: value for name, value in values.items() if name != OURS}
    if len(methods_in(others)) < len(VARIANTS) - 1 or OURS not in values:
        return unknown("not all variants were run")
    better = [name for name, value in others.items() if value <= values[OURS]]
    text = listed(values, ".3f", "") + (f"; not worse than HyCAM: {', '.join(better)}" if better else "")
    return told(not better, text, values)


def _retention(backbone: BackboneEvidence) -> Finding:
    values = backbone.values((OURS, *BASELINES), lambda row: row.mean("ppl_change", RETENTION))
    if OURS not in values or len(values) < 2:
        return unknown("not measured")
    shares = {name: 100 * value for name, value in values.items()}
    least = all(shares[OURS] < value for name, value in shares.items() if name != OURS)
    return told(least, listed(shares, "+.1f"), shares)


CLAIMS = [
    Claim(
        id="average_improvement",
        statement=f"HyCAM improves by {CLAIMED}% on average over the best baseline",
        where="abstract, 4.2",
        definition="mean over backbones and metrics of the improvement in percent of the best of all four baselines;"
        f" published: it is {CLAIMED}% within rounding; ours: it is at least that",
        published=lambda published: _average(published.scoreboard(MAIN), ROUNDING),
        of_mix=lambda mix: _average(mix.scoreboard()),
    ),
    Claim(
        id="best_everywhere",
        statement="HyCAM outperforms every baseline on every 7B or 8B backbone",
        where="4.2, Table 2",
        definition="better than the best of all four baselines in every cell",
        published=_better_in([MAIN], BASELINES),
        of_mix=lambda mix: _better([mix.scoreboard()], BASELINES),
    ),
    Claim(
        id="significance",
        statement="The improvements over the best PEFT baseline are significant (two-sided t-test, p < 0.05)",
        where="4.2, Table 2",
        definition="a star in every cell, as docs/statistics.md defines it",
        published="the tables have means alone, and no spread; the pairs are not stated",
        of_mix=_significance,
    ),
    Claim(
        id="over_each_peft",
        statement="HyCAM gains over LoRA, and outperforms Multi LoRA and RieMoE-LoRA",
        where="4.2, Table 2",
        definition="better than each of the three in every cell; shown is the mean improvement",
        published=lambda published: _over_each(published.scoreboard(MAIN)),
        of_mix=lambda mix: _over_each(mix.scoreboard()),
    ),
    Claim(
        id="consistent_over_peft",
        statement="HyCAM consistently outperforms the other PEFT methods at all sizes",
        where="4.3, Tables 2 to 4",
        definition="better than the best PEFT baseline in every cell; the backbone of Tables 2 and 3 counts once",
        published=_better_in([MAIN, SIZES, SMALL], PEFT_BASELINES),
        of_mix=lambda mix: _better([mix.scoreboard()], PEFT_BASELINES),
    ),
    Claim(
        id="over_full_fine_tuning",
        statement="HyCAM is competitive with full fine-tuning and often superior",
        where="4.3, Tables 3 and 4",
        definition="better than full fine-tuning in at least half of the cells",
        published=_better_in([SIZES, SMALL], ("full_ft",), 0.5),
        of_mix=lambda mix: _better([mix.scoreboard()], ("full_ft",), 0.5),
    ),
    *(_growth(table, metrics) for table in (SIZES, SMALL) for metrics in (("ppl",), tuple(SCORES))),
    Claim(
        id="best_or_second_by_task",
        statement="HyCAM is competitive on individual tasks: marked best or second in each",
        where="4.4, Table 5",
        definition="the best or second-best value of all methods in every task and metric",
        published=lambda published: _tasks([published.scoreboard(TASKS)]),
        of_mix=lambda mix: _tasks(mix.tasks()),
    ),
    Claim(
        id="hard_tasks",
        statement="Results on iCliniq and Dolly are lower than on the other tasks",
        where="4.4, Table 5",
        definition="in the mean over methods these two are the two worst tasks by every metric",
        published=lambda published: _hard_tasks([published.scoreboard(TASKS)]),
        of_mix=lambda mix: _hard_tasks(mix.tasks()),
    ),
    Claim(
        id="ablation",
        statement="Each component and design choice contributes positively",
        where="4.5, Table 6",
        definition="every variant has a higher PPL than HyCAM",
        published=lambda published: _ablation(published.ablation),
        of_backbone=lambda b: _ablation(b.values(VARIANTS.values(), lambda row: row.mean("ppl"))),
    ),
    Claim(
        id="retention",
        statement="HyCAM preserves general knowledge better than existing approaches",
        where="abstract, conclusion",
        definition="the perplexity of held-out general text rises less than with every baseline",
        published="never measured in the paper",
        of_backbone=_retention,
    ),
]
