"""The figures that records alone give."""

import csv
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hycam_exp.records.store import Store
from hycam_exp.report import titles
from hycam_exp.report.cache import kept_in
from hycam_exp.report.figures import catalogue, lines, pareto, routing, style
from hycam_exp.report.figures.lines import over_folds
from hycam_exp.report.figures.palette import METHODS, looks_of
from hycam_exp.report.figures.palette import TASKS as LOOKS
from hycam_exp.report.select import Selection, select
from hycam_exp.report.sources import RecordSource
from tests.report.conftest import MINI, mini_frame, mini_rows
from tests.report.figures.made import record
from tests.report.toy import known_experiments, rows_of, selection_of

ROOT = Path(__file__).parents[3]
RECORDS = [record(method, fold) for method in ("hycam", "lora") for fold in (0, 1)]


def data(pictures) -> list[list[str]]:
    """The data of the only figure."""
    (picture,) = pictures
    return list(csv.reader(picture.csv().splitlines()))[1:]


def draw(figure: str, rows):
    """The pictures of a figure; nothing where nothing is shown."""
    entry = catalogue.CATALOGUE[figure]
    shown = entry.shown(rows)
    return entry.draw(shown) if shown else []


def paths(files: catalogue.Files) -> list[Path]:
    return [path for of_place in files.values() for path in of_place]


def test_a_curve_is_the_mean_over_its_runs():
    """Validation losses as they are, training losses averaged from validation to validation; aligned by their order."""
    runs = [record(fold=0), record(fold=2)]
    runs[1].curves.validation[0]["step"] = 3  # the third training step then belongs to the first part
    runs[1].curves.validation.append({"step": 9, "loss": 1.0})  # the other run ended before
    (line,) = over_folds(rows_of(runs))
    spread = statistics.stdev
    first, second = [1.5, 3.5], [0.75, 2.75]
    assert lines.curve(line, "validation") == [
        (2.5, statistics.fmean(first), spread(first)), (4.0, statistics.fmean(second), spread(second)),
    ]  # fmt: skip
    early, late = [(4 + 2) / 2, (4 + 2 + 4 / 3) / 3 + 2], [(4 / 3 + 1) / 2, 1 + 2.0]
    expected = [(2.5, statistics.fmean(early), spread(early)), (4.0, statistics.fmean(late), spread(late))]
    for found, wanted in zip(lines.curve(line, "train"), expected, strict=True):
        assert found == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("field", "values"), [("num_specialized", (1, 2, 10)), ("tau", (0.1, 0.5, 2.0))])
def test_a_sweep_has_every_runs_perplexity_over_its_value(field, values):
    """Ordered by value; a value without scores is left out, and a field with one value has no figure."""
    runs = [
        record(fold=fold, ppl=2.0 + i / 4 + fold / 8, **{field: value})
        for i, value in enumerate(values)
        for fold in (0, 1)
    ]
    unscored = record(ppl=None, **{field: 7})
    with style.applied():
        found = data(draw(field, rows_of([*runs, unscored])))
        assert draw(field, rows_of(runs[:2])) == []
    assert found == [
        ["hycam", "", str(value), str(fold), "0", "1", str(2.0 + i / 4 + fold / 8)]
        for i, value in enumerate(values)
        for fold in (0, 1)
    ]


def test_a_sweep_takes_the_grids_own_runs():
    """At the method's own value the runs of the seed that all folds have."""
    grid = [record(fold=fold) for fold in (0, 1)]
    seeds = [record(fold=0, seed=seed, ppl=9.0) for seed in (100, 200, 300)]
    other = [record(num_specialized=8, fold=fold) for fold in (0, 1)]
    with style.applied():
        found = data(draw("num_specialized", rows_of([*grid, *seeds, *other])))
    assert [row[2:6] for row in found] == [
        ["5", "0", "0", "1"], ["5", "1", "0", "1"], ["8", "0", "0", "1"], ["8", "1", "0", "1"],
    ]  # fmt: skip


def test_curves_over_seeds_and_over_folds_are_two_figures():
    """HyCAM's mean over seeds of one fold never stands beside an ablation's over folds."""
    runs = [record(method, fold=fold) for method in ("hycam", "lora", "hycam_spec_only") for fold in (0, 1)]
    runs += [record(method, seed=seed) for method in ("hycam", "lora") for seed in (100, 200)]
    with style.applied():
        folds, seeds = (data(draw(figure, rows_of(runs))) for figure in ("convergence", "loss_curves"))
        assert draw("loss_curves", rows_of(runs[:6])) == []
    assert {(row[0], row[6], row[7]) for row in folds} == {
        (m, "2", "fold") for m in ("hycam", "lora", "hycam_spec_only")
    }
    assert {(row[0], row[6], row[7]) for row in seeds} == {(m, "3", "seed") for m in ("hycam", "lora")}


def test_two_sweeps_do_not_mix():
    """The figure of N_s holds the runs at one tau, though others are there."""
    runs = [record(num_specialized=number) for number in (1, 5)] + [record(tau=2.0)]
    (by_value,) = lines.swept(rows_of(runs), lines.NUM_SPECIALIZED).values()
    assert {value: line.runs[0].method_field("tau") for value, line in by_value.items()} == {1: 0.5, 5: 0.5}


def test_the_data_are_the_records_numbers():
    """What the committed records say of tasks, cost, retention and routing is in the data to the last digit."""
    known = mini_rows()
    by_id = {(row.method, row.variant_text, run.fold): run.record for row in known for run in row.runs}
    with style.applied():
        for task, method, variant, fold, _, _, ppl in data(draw("tasks", known)):
            assert float(ppl) == by_id[method, variant, int(fold)].score("ppl", task)
        found = data(draw("retention", known))
        assert len(found) == len(by_id)
        for method, variant, fold, _, _, before, ppl, gain, change in found:
            run = by_id[method, variant, int(fold)]
            assert float(before) == run.score("ppl_before", "mean")
            assert float(ppl) == run.score("ppl", "mean")
            assert float(gain) == 1 - float(ppl) / float(before)
            assert float(change) == run.score("ppl_change", "retention")
        for method, variant, fold, _, _, ppl, trained, seconds, memory, kind, _ in data(draw("pareto", known)):
            run = by_id[method, variant, int(fold)]
            assert float(ppl) == run.score("ppl", "mean")
            assert int(trained) == run.counts.parameters_trainable
            assert float(seconds) == run.cost.seconds["train"]
            assert (kind, int(memory)) == (run.cost.peak_memory.kind, run.cost.peak_memory.bytes)
        hycam = [row for row in known if row.method == "hycam"]
        weights = {
            (task, layer, int(module)): float(weight)
            for _, _, _, task, layer, module, weight, *_ in data(draw("routing", hycam))
        }
    assert weights == {
        (row.task, row.layer, module): weight
        for row in by_id["hycam", "", 0].routing
        for module, weight in enumerate(row.weights)
    }


def test_the_same_records_give_the_same_bytes(tmp_path):
    """In another process, without torch, with other hashes and clock; the files are named, and what is missing."""
    runs = [record(fold=fold, ppl=None) for fold in (0, 1)]
    for run in runs:
        run.config["model"] = {"name": "llama2_7b"}
        Store(tmp_path / "runs", tmp_path).write(run)
    code = (
        "import sys; from hycam_exp.report.figures.__main__ import main; "
        f"main(['results={tmp_path}', 'folder={tmp_path}']); sys.exit('torch' in sys.modules)"
    )
    settings = {"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=settings, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    written = paths(catalogue.write_all(selection_of(runs[::-1]), tmp_path / "here"))
    assert [path.name for path in written] == [
        f"{name}.{suffix}" for name in ("convergence", "routing-hycam") for suffix in ("pdf", "png", "csv")
    ]
    assert done.stdout.split() == [str(tmp_path / "llama2_7b-mini" / path.name) for path in written]
    assert (
        done.stderr.splitlines()[2]
        == "tau: no records yet; they come from python -m hycam_exp -m experiment=figure_tau"
    )
    for path in written:
        assert path.read_bytes() == (tmp_path / "llama2_7b-mini" / path.name).read_bytes(), path


def test_a_record_more_draws_only_what_shows_it(tmp_path, monkeypatch):
    """A run with another N_s is in the figure of N_s and in no other: that one is written, the other is left alone."""
    names = ("num_specialized", "tasks")
    monkeypatch.setattr(catalogue, "CATALOGUE", {name: catalogue.CATALOGUE[name] for name in names})
    runs = [
        replace(record(fold=fold, num_specialized=number), run_id=f"{number}-{fold}")
        for number in (1, 5, 8)
        for fold in (0, 1)
    ]

    def written(runs) -> dict[str, int]:
        for run in runs:
            Store(tmp_path / "runs", tmp_path).write(run)
        cache = kept_in(tmp_path)
        selection = selection_of(runs, RecordSource.own(tmp_path))
        with catalogue.Drawing(selection, tmp_path / "figures", cache, processes=1) as drawing:
            found = {path.stem: path.stat().st_mtime_ns for path in paths(drawing.files())}
        cache.save()
        return found

    before = written(runs[:-1])
    assert set(before) == set(names)
    assert {name for name, moment in written(runs).items() if moment != before[name]} == {"num_specialized"}
    (tmp_path / "figures" / "m-mini" / "tasks.png").write_bytes(b"another")
    assert {name for name, moment in written(runs).items() if moment != before[name]} >= {"tasks"}


@pytest.mark.slow
def test_several_processes_write_the_same_bytes(tmp_path):
    """As one does, in the same order."""
    mixes = [record(method, fold, data=data) for data in "abc" for method in ("hycam", "lora") for fold in (0, 1)]
    one, two = (catalogue.write_all(selection_of(mixes), tmp_path / str(n), processes=n) for n in (1, 2))
    assert list(one) == list(two)
    for left, right in zip(paths(one), paths(two), strict=True):
        assert left.read_bytes() == right.read_bytes(), left


@pytest.mark.slow
def test_the_committed_figures_are_the_committed_records(tmp_path):
    """Drawn again they are the same, byte for byte, and none is left of records that are gone."""
    selection = select(mini_frame(), known_experiments())
    written = paths(catalogue.write_all(selection, tmp_path))
    folder = MINI.out / "figures"
    for path in written:
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes(), (
            f"{path.name}: python -m hycam_exp.report figures"
        )
    there = {path for name in selection.main for path in (folder / name).iterdir()}
    assert there == {folder / path.relative_to(tmp_path) for path in written}


@pytest.fixture
def missing(monkeypatch):
    """What is missing of summaries, as if the rest were drawn; the records' backbone is one of the paper's."""
    monkeypatch.setitem(titles.MODELS, "m", "M")
    monkeypatch.setattr(catalogue, "_write", lambda task: [Path(task[0])])

    def of(records) -> list[tuple[str, str]]:
        selection: Selection = selection_of(records)
        return catalogue.missing(selection, catalogue.write_all(selection, Path("figures"), processes=1))

    return of


def test_what_has_no_records_names_the_command_that_makes_them(missing):
    """Nothing is missing of what is drawn; every experiment named exists."""
    assert [figure for figure, _ in missing(RECORDS)] == ["loss_curves", "num_specialized", "tau"]
    everything = dict(missing([]))
    assert set(everything) == set(catalogue.CATALOGUE)
    assert everything["tau"] == "python -m hycam_exp -m experiment=figure_tau"
    for command in everything.values():
        assert (ROOT / "conf" / "experiment" / f"{command.rsplit('=', 1)[1]}.yaml").is_file()


def test_of_ones_own_backbone_no_figure_is_missing(missing, monkeypatch):
    """There is no experiment whose command would make its records."""
    monkeypatch.delitem(titles.MODELS, "m")
    assert missing(RECORDS) == []


def test_records_without_scores_give_no_figures_of_scores(missing):
    """A run that was not tested has its curves and its routing, and nothing is drawn of what is absent."""
    runs = [record(ppl=None)]
    rows = rows_of(runs)
    assert draw("pareto", rows) == draw("tasks", rows) == draw("retention", rows) == []
    assert [figure for figure, _ in missing(runs)] == [
        "loss_curves",
        "num_specialized",
        "tau",
        "pareto",
        "tasks",
        "retention",
    ]


def test_the_front_is_what_nothing_beats():
    """Cheaper and better on both counts, from cheap to dear."""
    assert pareto.frontier([(3, 1.0), (1, 3.0), (2, 3.5), (2, 2.0), (4, 1.0)]) == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_layers_are_named_shortly():
    """Blocks by number; with several layers in a block their names as well."""
    assert routing.short_layers(["model.layers.0.self_attn", "model.layers.10.self_attn"]) == ["0", "10"]
    assert routing.short_layers(["model.layers.0.mlp.up_proj", "model.layers.0.self_attn.q_proj"]) == [
        "0 up_proj",
        "0 q_proj",
    ]
    assert routing.short_layers(["router"]) == ["router"]


def test_every_method_and_task_has_a_look_of_its_own():
    """Colour and marker tell the methods of a panel apart, and so does the marker without the colour."""
    known = list(METHODS.values())
    assert len({look.marker for look in known}) == len(known)
    assert len({(look.colour, str(look.line)) for look in known}) == len(known)
    for tasks in (titles.TASKS, titles.MINI_TASKS):  # which are in no figure together
        found = looks_of([*tasks, "mine", "other"], LOOKS)
        assert len({(look.colour, look.marker) for look in found.values()}) == len(tasks) + 2
