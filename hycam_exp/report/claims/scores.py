"""The paper's claims about scores: on average, over PEFT, by size, by task, by component, on general text."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hycam_exp.evaluation.metrics import SCORES, declared
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.report.baselines import BASELINES, PEFT_BASELINES
from hycam_exp.report.claims.evidence import Backbone, Evidence
from hycam_exp.report.claims.scoreboard import OURS, Scoreboard, methods_in
from hycam_exp.report.claims.statement import UNKNOWN, Finding, Statement, listed, verdict
from hycam_exp.report.published import ROUNDING, VARIANTS, Published
from hycam_exp.report.statistics.significance import compare, with_holm

CLAIMED = 3.65
"""The average improvement in percent that the paper's abstract states."""
SIZES, SMALL = "table3_qwen_sizes", "table4_llama32"
HARD = ("icliniq", "dolly")
_NO_SHARE = "a baseline's score is 0, of which nothing is a percentage"


def statements(published: Published, evidence: Sequence[Evidence]) -> list[Statement]:
    """What the paper says of scores."""
    return [
        _average(published, evidence),
        _best(published, evidence),
        _significance(evidence),
        _over_each(published, evidence),
        _over_peft(published, evidence),
        _over_full(published, evidence),
        *(
            _growth(published, evidence, table, metrics)
            for table in (SIZES, SMALL)
            for metrics in (("ppl",), tuple(SCORES))
        ),
        _tasks(published, evidence),
        _hard_tasks(published, evidence),
        _ablation(published, evidence),
        _retention(evidence),
    ]


def of_mixes(evidence: Sequence[Evidence], check: Callable[[Evidence], Finding]) -> list[Finding]:
    """A finding for each data mix, labelled with what it is."""
    found = [replace(check(mix), setting=mix.setting) for mix in evidence]
    return found or [Finding(verdict=UNKNOWN, text="no records of HyCAM")]


def of_backbones(evidence: Sequence[Evidence], check: Callable[[Backbone], Finding]) -> list[Finding]:
    """A finding for each backbone of each data mix."""
    return [
        replace(check(backbone), setting=mix.setting if len(mix.backbones) == 1 else f"{mix.setting}; {backbone.model}")
        for mix in evidence
        for backbone in mix.backbones
    ] or [Finding(verdict=UNKNOWN, text="no records of HyCAM")]


def _mean(values: dict[tuple[str, str], float]) -> float:
    return sum(values.values()) / len(values)


def _average(published: Published, evidence: Sequence[Evidence]) -> Statement:
    ways = {
        "best of all baselines": BASELINES,
        "best PEFT baseline": PEFT_BASELINES,
        "best without RieMoE-LoRA": tuple(name for name in BASELINES if name != "riemoe_lora"),
    }

    def check(board: Scoreboard, error: float) -> Finding:
        cells = {name: board.better(methods) for name, methods in ways.items()}
        if not all(cells.values()):
            return Finding(verdict=UNKNOWN, text="not all baselines were run")
        gains = {name: board.improvements(methods) for name, methods in ways.items()}
        bounds = [board.improvements(BASELINES, sign * error) for sign in (-1, 1)]
        if any(cells[name].keys() != gains[name].keys() for name in ways) or not all(bounds):
            return Finding(verdict=UNKNOWN, text=_NO_SHARE)
        values = {name: _mean(found) for name, found in gains.items()}
        low, high = map(_mean, bounds)
        text = listed(values) + (f"; rounding allows {low:.2f} to {high:.2f}" if error else "")
        reached = low <= CLAIMED <= high if error else values["best of all baselines"] >= CLAIMED
        return Finding(
            verdict=verdict(reached), text=text, values=values | ({"low": low, "high": high} if error else {})
        )

    return Statement(
        id="average_improvement",
        statement=f"HyCAM improves by {CLAIMED}% on average over the best baseline",
        where="abstract, 4.2",
        definition="mean over backbones and metrics of the improvement in percent of the best of all four baselines;"
        f" published: it is {CLAIMED}% within rounding; ours: it is at least that",
        published=check(published.scoreboard("table2_main"), ROUNDING),
        ours=of_mixes(evidence, lambda mix: check(mix.scoreboard(), 0.0)),
    )


def _better_cells(boards: Sequence[Scoreboard], baselines: Sequence[str], share: float = 1.0) -> Finding:
    """HyCAM is better than the best of the baselines in a share of all cells."""
    cells = [is_better for board in boards for is_better in board.better(baselines).values()]
    if not cells:
        return Finding(verdict=UNKNOWN, text="the baselines were not run")
    better = sum(cells)
    return Finding(
        verdict=verdict(better >= share * len(cells)),
        text=f"better in {better} of {len(cells)} cells",
        values={"better": better, "cells": len(cells)},
    )


def _best(published: Published, evidence: Sequence[Evidence]) -> Statement:
    return Statement(
        id="best_everywhere",
        statement="HyCAM outperforms every baseline on every 7B or 8B backbone",
        where="4.2, Table 2",
        definition="better than the best of all four baselines in every cell",
        published=_better_cells([published.scoreboard("table2_main")], BASELINES),
        ours=of_mixes(evidence, lambda mix: _better_cells([mix.scoreboard()], BASELINES)),
    )


def _significance(evidence: Sequence[Evidence]) -> Statement:
    def check(mix: Evidence) -> Finding:
        pairs = [(backbone, metric) for backbone in mix.backbones for metric in SCORES]
        found = with_holm([compare(b.hycam, b.settings(PEFT_BASELINES), metric) for b, metric in pairs])
        if any(c.p is None for c in found):
            return Finding(verdict=UNKNOWN, text="; ".join(dict.fromkeys(c.reason or "" for c in found)))
        stars, uncorrected = sum(c.star for c in found), sum(c.uncorrected_star for c in found)
        worse = sum(c.is_worse for c in found)
        return Finding(
            verdict=verdict(stars == len(found)),
            text=f"starred in {stars} of {len(found)} cells, {uncorrected} without correction; significantly worse in"
            f" {worse}",
            values={"stars": stars, "uncorrected": uncorrected, "worse": worse, "cells": len(found)},
        )

    return Statement(
        id="significance",
        statement="the improvements over the best PEFT baseline are significant (two-sided t-test, p < 0.05)",
        where="4.2, Table 2",
        definition="a star in every cell, as docs/statistics.md defines it",
        published=Finding(verdict=UNKNOWN, text="the tables have means alone, and no spread; the pairs are not stated"),
        ours=of_mixes(evidence, check),
    )


def _over_each(published: Published, evidence: Sequence[Evidence]) -> Statement:
    def check(board: Scoreboard) -> Finding:
        cells = {name: board.better([name]) for name in PEFT_BASELINES}
        if not all(cells.values()):
            return Finding(verdict=UNKNOWN, text="not all baselines were run")
        gains = {name: board.improvements([name]) for name in PEFT_BASELINES}
        values = {name: _mean(gains[name]) for name in cells if gains[name].keys() == cells[name].keys()}
        better = all(is_better for found in cells.values() for is_better in found.values())
        text = f"on average {listed(values)}" if len(values) == len(cells) else _NO_SHARE
        return Finding(verdict=verdict(better), text=text, values=values)

    return Statement(
        id="over_each_peft",
        statement="HyCAM gains over LoRA, and outperforms Multi LoRA and RieMoE-LoRA",
        where="4.2, Table 2",
        definition="better than each of the three in every cell; shown is the mean improvement",
        published=check(published.scoreboard("table2_main")),
        ours=of_mixes(evidence, lambda mix: check(mix.scoreboard())),
    )


def _over_peft(published: Published, evidence: Sequence[Evidence]) -> Statement:
    boards = [published.scoreboard(name) for name in ("table2_main", SIZES, SMALL)]
    return Statement(
        id="consistent_over_peft",
        statement="HyCAM consistently outperforms the other PEFT methods at all sizes",
        where="4.3, Tables 2 to 4",
        definition="better than the best PEFT baseline in every cell",
        published=_better_cells(boards, PEFT_BASELINES),
        ours=of_mixes(evidence, lambda mix: _better_cells([mix.scoreboard()], PEFT_BASELINES)),
    )


def _over_full(published: Published, evidence: Sequence[Evidence]) -> Statement:
    boards = [published.scoreboard(name) for name in (SIZES, SMALL)]
    return Statement(
        id="over_full_fine_tuning",
        statement="HyCAM is competitive with full fine-tuning and often superior",
        where="4.3, Tables 3 and 4",
        definition="better than full fine-tuning in at least half of the cells",
        published=_better_cells(boards, ("full_ft",), 0.5),
        ours=of_mixes(evidence, lambda mix: _better_cells([mix.scoreboard()], ("full_ft",), 0.5)),
    )


def _growth(published: Published, evidence: Sequence[Evidence], table: str, metrics: Sequence[str]) -> Statement:
    """By size in the order of the table's columns."""
    order = published.scoreboard(table).columns

    def check(board: Scoreboard) -> Finding:
        gains = board.improvements(PEFT_BASELINES)
        sizes = [column for column in order if all((column, metric) in gains for metric in metrics)]
        if len(sizes) < 2:
            return Finding(verdict=UNKNOWN, text="fewer than two sizes")
        values = {size: sum(gains[size, metric] for metric in metrics) / len(metrics) for size in sizes}
        return Finding(verdict=verdict(_grows(list(values.values()))), text=listed(values), values=values)

    what, family = ("PPL" if len(metrics) == 1 else "all metrics"), "Qwen2.5" if table == SIZES else "Llama 3.2"
    return Statement(
        id=f"growth_{'ppl' if len(metrics) == 1 else 'mean'}_{'qwen2_5' if table == SIZES else 'llama3_2'}",
        statement=f"HyCAM's advantage grows with the size of the backbone: {what}, {family}",
        where=f"4.3, Table {3 if table == SIZES else 4}",
        definition="the improvement over the best PEFT baseline, as the mean over these metrics:"
        " the largest size gains more than the smallest, and more pairs of sizes rise than fall",
        published=check(published.scoreboard(table)),
        ours=of_mixes(evidence, lambda mix: check(mix.scoreboard())),
    )


def _grows(values: Sequence[float]) -> bool:
    pairs = [(small, large) for i, small in enumerate(values) for large in values[i + 1 :]]
    return values[-1] > values[0] and sum((a < b) - (a > b) for a, b in pairs) > 0


def _tasks(published: Published, evidence: Sequence[Evidence]) -> Statement:
    def check(boards: Sequence[Scoreboard]) -> Finding:
        places = {(*cell, i): board.place(OURS, *cell) for i, board in enumerate(boards) for cell in board.cells}
        behind = [f"{task} {metric} ({place})" for (task, metric, _), place in places.items() if place > 2]
        known = all(len(methods_in(board.methods)) > 2 for board in boards) and places
        if not known:
            return Finding(verdict=UNKNOWN, text="fewer than two baselines were run")
        text = f"best or second in {len(places) - len(behind)} of {len(places)} cells"
        shown = f"; not in {', '.join(behind)}" if 0 < len(behind) <= 3 else ""
        counts = {name: sum(p == n for p in places.values()) for n, name in ((1, "best"), (2, "second"))}
        return Finding(verdict=verdict(not behind), text=text + shown, values={**counts, "cells": len(places)})

    return Statement(
        id="best_or_second_by_task",
        statement="HyCAM is competitive on individual tasks: marked best or second in each",
        where="4.4, Table 5",
        definition="the best or second-best value of all methods in every task and metric",
        published=check([published.scoreboard("table5_tasks_llama2_7b")]),
        ours=of_mixes(evidence, lambda mix: check(mix.tasks())),
    )


def _hard_tasks(published: Published, evidence: Sequence[Evidence]) -> Statement:
    def check(boards: Sequence[Scoreboard]) -> Finding:
        holds, texts = True, []
        for board in boards:
            if not set(HARD) < set(board.columns):
                return Finding(verdict=UNKNOWN, text=f"no scores of {' and '.join(HARD)} beside other tasks")
            for metric in SCORES:
                if not all(board.scores(task, metric) for task in board.columns):
                    return Finding(verdict=UNKNOWN, text=f"a task without {metric}")
                means = {task: _average_score(board, task, metric) for task in board.columns}
                worst = sorted(means, key=lambda task: means[task], reverse=declared(metric).better == "lower")[
                    : len(HARD)
                ]
                holds &= set(worst) == set(HARD)
                texts.append(f"{metric}: {', '.join(worst)}")
        return Finding(verdict=verdict(holds), text="; ".join(texts))

    return Statement(
        id="hard_tasks",
        statement="results on iCliniq and Dolly are lower than on the other tasks",
        where="4.4, Table 5",
        definition="in the mean over methods these two are the two worst tasks by every metric",
        published=check([published.scoreboard("table5_tasks_llama2_7b")]),
        ours=of_mixes(evidence, lambda mix: check(mix.tasks())),
    )


def _average_score(board: Scoreboard, task: str, metric: str) -> float:
    scores = board.scores(task, metric)
    return sum(scores.values()) / len(scores)


def _ablation(published: Published, evidence: Sequence[Evidence]) -> Statement:
    def check(values: dict[str, float]) -> Finding:
        others = {name: value for name, value in values.items() if name != OURS}
        if len(methods_in(others)) < len(VARIANTS) - 1 or OURS not in values:
            return Finding(verdict=UNKNOWN, text="not all variants were run")
        better = [name for name, value in others.items() if value <= values[OURS]]
        text = listed(values, "{:.3f}") + (f"; not worse than HyCAM: {', '.join(better)}" if better else "")
        return Finding(verdict=verdict(not better), text=text, values=values)

    def of(backbone: Backbone) -> dict[str, float]:
        return backbone.values(VARIANTS.values(), lambda summary: summary.mean("ppl"))

    return Statement(
        id="ablation",
        statement="each component and design choice contributes positively",
        where="4.5, Table 6",
        definition="every variant has a higher PPL than HyCAM",
        published=check(published.ablation),
        ours=of_backbones(evidence, lambda backbone: check(of(backbone))),
    )


def _retention(evidence: Sequence[Evidence]) -> Statement:
    def check(backbone: Backbone) -> Finding:
        values = backbone.values((OURS, *BASELINES), lambda s: s.mean("ppl_change", RETENTION))
        if OURS not in values or len(values) < 2:
            return Finding(verdict=UNKNOWN, text="not measured")
        shares = {name: 100 * value for name, value in values.items()}
        least = all(shares[OURS] < value for name, value in shares.items() if name != OURS)
        return Finding(verdict=verdict(least), text=listed(shares, "{:+.1f}%"), values=shares)

    return Statement(
        id="retention",
        statement="HyCAM preserves general knowledge better than existing approaches",
        where="abstract, conclusion",
        definition="the perplexity of held-out general text rises less than with every baseline",
        published=Finding(verdict=UNKNOWN, text="never measured in the paper"),
        ours=of_backbones(evidence, check),
    )
