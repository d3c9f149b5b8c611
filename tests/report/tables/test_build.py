"""The tables of the committed records, and of records with one thing changed."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from types import SimpleNamespace
from typing import Any

import pytest

from hycam_exp.data.table1 import Counted, Measured
from hycam_exp.evaluation.metrics import Score
from hycam_exp.records.record import RunRecord
from hycam_exp.report import titles
from hycam_exp.report.experiments import Expected, Experiments
from hycam_exp.report.tables import text
from hycam_exp.report.tables.build import Report
from hycam_exp.report.tables.build import build as build_tables
from hycam_exp.report.tables.table import Table, TableCell
from tests.made import COUNTS
from tests.report.conftest import mini_frame, mini_records, unclipped
from tests.report.toy import TASKS, known_experiments, record, selection_of


def build(records: Iterable[RunRecord], **how: Any) -> Report:
    return build_tables(selection_of(records), how.pop("experiments", known_experiments()), **how)


@pytest.fixture(scope="module")
def committed() -> list[RunRecord]:
    """The records of the mini grids."""
    return mini_records()


def tables(report: Report) -> dict[str, Table]:
    return {table.name: table for table in report.tables}


def cell(table: Table, label: str, name: str, group: str = "") -> TableCell:
    (row,) = [row for row in table.rows if row.label == label]
    (place,) = [i for i, c in enumerate(table.columns) if (c.group, c.name) == (group, name)]
    return row.cells[place]


def nested(setting: Mapping[str, Any]) -> dict[str, Any]:
    """A config from dotted names."""
    config: dict[str, Any] = {}
    for key, value in setting.items():
        *outer, last = key.split(".")
        reduce(lambda inner, name: inner.setdefault(name, {}), outer, config)[last] = value
    return config


def of_llama2(experiments: Experiments) -> list[RunRecord]:
    """Records of Table 2's cells on Llama 2 7B; every method's perplexity is half of that of the method before it."""
    made = []
    for position, expected in enumerate(experiments.rows("table2_main")[:5]):
        for fold in range(5):
            value = 8 * 0.5**position * (1 + 0.001 * (fold + position * fold**2))
            scores = [
                Score(task=task, metric=metric, value=value if metric == "ppl" else 1 / value, n=1)
                for task, metric in itertools.product(("mean", *TASKS), ("ppl", "bleu4", "rouge_l"))
            ]
            config = {**nested(expected.values), "fold": fold, "seed": fold, "trainer": {}}
            name = f"llama2_7b-{expected.names[1]}-f{fold}"
            made.append(replace(record(fold, None), run_id=name, config=config, scores=scores))
    return made


def reading(task: str, rows: int, rejected: int, of: RunRecord) -> RunRecord:
    """A record that has read so many rows of a task."""
    return replace(of, counts=replace(of.counts, records={task: replace(COUNTS, rows=rows, rejected=rejected)}))


def test_without_records_ours_is_dashes_and_published_is_whole(experiments: Experiments) -> None:
    """Every dash has the command that fills it."""
    found = tables(build([]))
    assert list(found)[:6] == [
        "table1_datasets", "table2_main", "table3_qwen_sizes", "table4_llama32", "table5_tasks", "table6_ablation",
    ]  # fmt: skip
    cells = [c for row in found["table2_main"].rows for c in row.cells]
    assert len(cells) == 75
    assert all(c.value is None and c.published is not None and c.mark is None and not c.star for c in cells)
    assert all(c.command and c.command.endswith("fold=0,1,2,3,4") for c in cells)
    last = cell(found["table2_main"], "HyCAM", "PPL", "Qwen 2.5 7B")
    assert (last.published, last.published_mark, last.published_star) == (2.757, "best", True)
    assert last.command == "python -m hycam_exp -m experiment=table2_main model=qwen2_5_7b method=hycam fold=0,1,2,3,4"
    assert found["table2_main"].notes == []
    assert cell(found["table6_ablation"], "HyCAM-FullSpec", "PPL", "").published == 3.102
    assert cell(found["table1_datasets"], "WebGPT", "Total Tokens").published == 13_988_895
    assert [row.label for row in found["table2_main"].rows if row.rule] == ["Multi LoRA"]


def test_mini_is_what_the_records_say(experiments: Experiments, committed: list[RunRecord]) -> None:
    """Means over folds, computed here from the scores, of which every fold has two trainings; the unclipped RieMoE-LoRA
    is a row of its own."""
    every = [run.record for run in mini_frame().runs]
    report = build([*every, *unclipped(of(committed, "riemoe_lora"))])
    table = tables(report)["mini"]
    assert report.problems == []
    assert [row.label for row in table.rows] == [
        "Full Finetune", "LoRA", "LoRA (matched)", "Multi LoRA", "RieMoE-LoRA", "RieMoE-LoRA (recipe.clip=null)",
        "HyCAM",
    ]  # fmt: skip
    hycam = of(every, "hycam")
    assert len(hycam) == 10
    for name, metric in (("PPL", "ppl"), ("BLEU-4", "bleu4"), ("ROUGE-L", "rouge_l")):
        mean = sum(s.value or 0 for r in hycam for s in r.scores if (s.metric, s.task) == (metric, "mean")) / 10
        found = cell(table, "HyCAM", name)
        assert found.value == pytest.approx(mean, rel=1e-12)
        assert (found.folds, found.command) == (5, None)
    assert cell(table, "HyCAM", "trained parameters").value == 165_504
    seconds = sum(sum(r.cost.seconds.values()) for r in hycam) / 10
    assert cell(table, "HyCAM", "seconds").value == pytest.approx(seconds)
    tasks = tables(report)["mini_tasks"]
    score = sum(r.score("ppl", "mini_medical") or 0 for r in hycam) / 10
    assert cell(tasks, "HyCAM", "PPL", "Mini medical").value == pytest.approx(score, rel=1e-12)


def test_a_row_without_a_model_has_no_score_of_another(experiments: Experiments) -> None:
    """LoRA that an experiment does not ask for on a backbone is an empty cell there, beside what the paper printed."""

    def rows(experiment: str) -> list[Expected]:
        return [
            e
            for e in experiments.rows(experiment)
            if e.names[:2] not in {("llama3_8b", "lora"), ("mistral_7b", "hycam")}
        ]

    asked: Any = SimpleNamespace(rows=rows, prepare=lambda *_: None, variant=experiments.variant)
    table = tables(build(of_llama2(experiments), experiments=asked))["table2_main"]
    for label, backbone in (("LoRA", "Llama 3 8B"), ("HyCAM", "Mistral 7B")):
        found = cell(table, label, "PPL", backbone)
        assert (found.value, found.folds, found.command, found.star) == (None, None, None, False)
        assert found.published is not None
    assert cell(table, "LoRA", "PPL", "Llama 2 7B").value is not None


def test_the_order_of_records_changes_nothing(experiments: Experiments, committed: list[RunRecord]) -> None:
    """Nor of what is asked for first."""
    assert build(committed) == build(reversed(committed))


def test_a_column_of_the_paper_is_filled_and_starred(experiments: Experiments) -> None:
    """HyCAM, made better in every fold, has bold and star; the difference is to the published value."""
    records = of_llama2(experiments)
    found = tables(build(records))
    ours = cell(found["table2_main"], "HyCAM", "PPL", "Llama 2 7B")
    assert (ours.mark, ours.star, ours.star_uncorrected, ours.folds) == ("best", True, True, 5)
    assert ours.difference == pytest.approx(sum(r.score("ppl", "mean") or 0 for r in records[20:]) / 5 - 3.081)
    assert cell(found["table2_main"], "RieMoE-LoRA", "PPL", "Llama 2 7B").mark == "second"
    assert cell(found["table5_tasks"], "HyCAM", "BLEU-4", "WebGPT").star
    assert cell(found["table6_ablation"], "HyCAM", "PPL").value == ours.value
    assert cell(found["table2_main"], "HyCAM", "PPL", "Llama 3 8B").value is None


def test_a_missing_fold_is_said_and_has_no_star(experiments: Experiments) -> None:
    """Of ours or of a baseline; what is missing has its command."""
    records = of_llama2(experiments)
    without = [r for r in records if r.run_id not in ("llama2_7b-lora-f3", "llama2_7b-lora-f4")]
    table = tables(build(without))["table2_main"]
    lora, ours = (cell(table, label, "PPL", "Llama 2 7B") for label in ("LoRA", "HyCAM"))
    assert (lora.folds, lora.mark, lora.is_complete) == (3, None, False)
    assert lora.command is not None
    assert lora.command.endswith("model=llama2_7b method=lora fold=3,4")
    assert (ours.mark, ours.star, ours.star_uncorrected) == ("best", False, False)
    assert "Llama 2 7B: no star: lora lacks folds 3, 4" in table.notes


def test_a_missing_baseline_is_said_and_gives_no_star(experiments: Experiments) -> None:
    """The best of the others may not be the best."""
    records = [r for r in of_llama2(experiments) if "riemoe" not in r.run_id]
    table = tables(build(records))["table2_main"]
    assert not cell(table, "HyCAM", "PPL", "Llama 2 7B").star_uncorrected
    assert table.notes == ["Llama 2 7B: no star: RieMoE-LoRA missing"]


def of(committed: list[RunRecord], method: str) -> list[RunRecord]:
    return [r for r in committed if r.config["method"]["name"] == method]


def scaled(records: list[RunRecord], factor: float) -> list[RunRecord]:
    """With perplexities times the factor and overlaps over it."""

    def value(score: Score) -> float | None:
        assert score.value is not None
        return score.value * factor if score.metric == "ppl" else score.value / factor

    return [
        replace(r, scores=[replace(s, value=value(s)) for s in r.scores if s.metric in ("ppl", "bleu4", "rouge_l")])
        for r in records
    ]


def without(committed: list[RunRecord], *others: list[RunRecord]) -> list[RunRecord]:
    gone = {r.run_id for some in others for r in some}
    return [r for r in committed if r.run_id not in gone]


def test_a_star_is_against_the_best_of_the_table_variants_included(committed: list[RunRecord]) -> None:
    """HyCAM made better than every row of the experiment, and not than another recipe of RieMoE-LoRA: no star, and it
    is marked as worse than that one; without the variant it is starred."""
    hycam, variant = of(committed, "hycam"), unclipped(of(committed, "riemoe_lora"))
    others = without(committed, hycam)
    best = scaled(of(committed, "riemoe_lora"), 0.9)
    ours = [replace(r, config=h.config, run_id=h.run_id) for r, h in zip(best, hycam, strict=True)]
    better = [replace(r, config=v.config, run_id=v.run_id) for r, v in zip(scaled(best, 0.9), variant, strict=True)]
    found = cell(tables(build([*others, *ours, *better]))["mini"], "HyCAM", "PPL")
    assert found.comparison is not None
    assert found.comparison.baseline == "riemoe_lora (recipe.clip=null)"
    assert (found.star, found.star_uncorrected, found.worse) == (False, False, True)
    alone = cell(tables(build([*others, *ours]))["mini"], "HyCAM", "PPL")
    assert (alone.star, alone.worse) == (True, False)


def test_a_variant_that_lacks_folds_is_said_and_not_compared(committed: list[RunRecord]) -> None:
    """Nobody asked for its other folds: the comparison stands without it, with a note."""
    variant = unclipped(of(committed, "riemoe_lora"))
    table = tables(build([*committed, *variant[:1]]))["mini"]
    assert cell(table, "HyCAM", "PPL").comparison is not None
    assert "not compared: riemoe_lora (recipe.clip=null) lacks folds 1, 2, 3, 4" in table.notes


def test_another_recipe_does_not_fill_a_gap(committed: list[RunRecord]) -> None:
    """It is refused by name while the experiment's own folds stand, and is a row of its own; allowed, it fills the gap,
    marked."""
    first = of(committed, "hycam")[0]
    config = {**first.config, "recipe": {**first.config["recipe"], "epochs": 9}}
    changed = [replace(first, config=config), *without(committed, [first])]
    report = build(changed)
    assert list(map(str, report.problems)) == ["tiny_llama x hycam x mini: refused: fold 0 with recipe.epochs=9"]
    table = tables(report)["mini"]
    assert (cell(table, "HyCAM", "PPL").folds, cell(table, "HyCAM (recipe.epochs=9)", "PPL").folds) == (4, 1)
    assert "HyCAM: refused: fold 0 with recipe.epochs=9" in table.notes
    allowed = build(changed, allow_mixed=True)
    found = cell(tables(allowed)["mini"], "HyCAM", "PPL")
    assert (allowed.problems, found.is_mixed, found.folds, found.star) == ([], True, 5, False)
    assert found.value == pytest.approx(cell(tables(build(committed))["mini"], "HyCAM", "PPL").value, rel=1e-12)
    assert "HyCAM: mixed: fold 0 with recipe.epochs=9" in tables(allowed)["mini"].notes


def test_a_row_of_another_recipe_alone_is_noted(committed: list[RunRecord]) -> None:
    """It is no part of the experiment, and nothing is mixed."""
    changed = [
        replace(r, config={**r.config, "data": {**r.config["data"], "max_per_task": 9}}) for r in of(committed, "lora")
    ]
    report = build([*without(committed, of(committed, "lora")), *changed])
    assert report.problems == []
    assert cell(tables(report)["mini"], "LoRA", "PPL").value is None
    assert "LoRA: not mixed in: folds 0, 1, 2, 3, 4 with data.max_per_task=9" in tables(report)["mini"].notes


def test_a_fold_of_another_split_is_left_out_unless_allowed(committed: list[RunRecord]) -> None:
    """The row has the others, and says it."""
    first = of(committed, "hycam")[0]
    changed = [replace(first, data=replace(first.data, split="0" * 64)), *without(committed, [first])]
    table = tables(build(changed))["mini"]
    assert cell(table, "HyCAM", "PPL").folds == 4
    (note,) = [note for note in table.notes if note.startswith("HyCAM: ")]
    assert note.startswith("HyCAM: left out: fold 0 of other records (split of fold 0 00000000, most runs' is ")
    allowed = tables(build(changed, allow_mixed=True))["mini"]
    assert (cell(allowed, "HyCAM", "PPL").folds, cell(allowed, "HyCAM", "PPL").is_mixed) == (5, True)


def test_a_caption_says_how_its_numbers_came_about(committed: list[RunRecord]) -> None:
    """Over what a mean is, what a mean PPL is, how many samples overlap rests on, on what rates were tuned."""
    facts = tables(build(committed))["mini"].facts
    over = "Means over folds \N{PLUS-MINUS SIGN} sample standard deviation over folds."
    mean = "Mean PPL is the mean of the tasks' PPL, not the PPL of all their tokens."
    assert facts == [
        over, mean, "BLEU-4 and ROUGE-L rest on 6 test samples of a task and fold.",
        "Learning rates were chosen on the validation part of fold 0.",
    ]  # fmt: skip
    assert mean not in tables(build(committed))["mini_tasks"].facts
    assert tables(build([]))["mini"].facts == []
    again = [replace(r, run_id=f"{r.run_id}-77", config={**r.config, "seed": 77}) for r in committed]
    assert tables(build([*committed, *again]))["mini"].facts[0] == (
        "Means over folds, each of 2 trainings, \N{PLUS-MINUS SIGN} sample standard deviation over folds."
    )


def test_an_unrelated_run_disturbs_no_table(experiments: Experiments, committed: list[RunRecord]) -> None:
    """One on more records a task than experiment=mini asks for: no row of it, and no problem."""
    other = next(r for r in committed if r.config["method"]["name"] == "hycam")
    config = {**other.config, "data": {**other.config["data"], "max_per_task": 300}}
    bare = replace(other, run_id="bare", config=config, data=replace(other.data, split="other"))
    assert build([*committed, bare]) == build(committed)


def test_a_sweep_and_seeds_are_no_rows(experiments: Experiments, committed: list[RunRecord]) -> None:
    """Of the mini tables: other values of N_s and tau, and other seeds of one fold, are for figures alone."""
    hycam = [r for r in committed if r.config["method"]["name"] == "hycam"]
    swept = [
        replace(
            r, run_id=f"{r.run_id}-{name}-{value}", config={**r.config, "method": {**r.config["method"], name: value}}
        )
        for name, value in (("num_specialized", 1), ("num_specialized", 8), ("tau", 2.0))
        for r in hycam
    ]
    first = [r for r in committed if r.config["fold"] == 0]
    seeded = [replace(r, run_id=f"{r.run_id}-100", config={**r.config, "seed": 100}) for r in first]
    found = build([*committed, *swept, *seeded])
    assert found == build(committed)


def test_generated_tasks_do_not_pass_for_the_data_sets(committed: list[RunRecord]) -> None:
    """In every form mini's table by task has no data set's name, and says what they are; the paper's says no such."""
    found = tables(build(committed))
    mini, paper = text.contents(found["mini_tasks"]), text.contents(found["table5_tasks"])
    for name, form in mini.items():
        assert not any(title in form for title in titles.TASKS.values()), name
        assert all(title in form for title in titles.MINI_TASKS.values()), name
        assert name.endswith(".csv") or "The tasks are generated" in form, name
    assert not any("generated" in form or "Mini" in form for form in paper.values())


def test_a_column_of_methods_is_headed_so(experiments: Experiments) -> None:
    """Method in Markdown; in LaTeX, with a line of groups above, the corner is the paper's Metric."""
    table = tables(build([]))["table5_tasks"]
    contents = text.contents(table)
    assert "| Method | Auto CoT PPL" in contents["table5_tasks.md"]
    assert "| Metric" not in contents["table5_tasks.md"]
    assert "\nMetric & PPL" in contents["table5_tasks.tex"]


def test_samples_of_table_1_are_what_runs_read(experiments: Experiments) -> None:
    """Rows but for rejected ones; runs that do not agree are named."""
    records = [reading("dolly", 100, 1, r) for r in of_llama2(experiments)[:2]]
    table = tables(build(records))["table1_datasets"]
    assert (cell(table, "Dolly 2.0", "Samples").value, cell(table, "iCliniq", "Samples").value) == (99, None)
    records[0] = reading("dolly", 90, 0, records[0])
    table = tables(build(records))["table1_datasets"]
    assert "Dolly 2.0: runs read different numbers of records: 90, 99" in table.notes


def test_table_1_has_what_was_measured(experiments: Experiments) -> None:
    """Samples, tokens and average beside the published ones; a set that was not measured has its command."""
    counted = Counted(samples=5816, total_tokens=943474, content="c")
    measured = Measured(tokenizer="llama3", tokenizer_sha256="ab" * 32, prompt="alpaca", tasks={"auto_cot": counted})
    table = tables(build([], measured=measured))["table1_datasets"]
    found = [cell(table, "Auto CoT", column.name) for column in table.columns[:3]]
    assert [c.value for c in found] == [5816, 943474, 943474 / 5816]
    assert [c.difference for c in found] == [0, 0, pytest.approx(0, abs=0.005)]
    assert all(c.command is None for c in found)
    assert "ours by llama3 (tokenizer.json abababab) with the alpaca prompt" in table.notes[0]
    absent = cell(table, "Dolly 2.0", "Total Tokens")
    assert (absent.value, absent.command) == (
        None, "python -m data_prep stats --root DIR --tokenizer DIR --out results/datasets.json",
    )  # fmt: skip
    runs = [reading("auto_cot", 100, 1, r) for r in of_llama2(experiments)[:2]]
    table = tables(build(runs, measured=measured))["table1_datasets"]
    assert cell(table, "Auto CoT", "Samples").value == 5816
    assert "Auto CoT: 5,816 records were measured, runs read 99" in table.notes
