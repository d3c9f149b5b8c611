"""The bootstrap over test samples, against slow references, by simulation, and on the committed records."""

import math
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU
from scipy import stats

from hycam_exp.report.cache import Cache, kept_in
from hycam_exp.report.frame import read
from hycam_exp.report.samples import COLUMNS, RESAMPLED, Samples, score
from hycam_exp.report.select import SelectedRow, select
from hycam_exp.report.sources import RecordSource
from hycam_exp.report.statistics import bootstrap
from hycam_exp.report.statistics.bootstrap import Bootstrap, check_paired, draws, resample
from tests.report.conftest import MINI
from tests.report.toy import known_experiments


@cache
def study_rows() -> tuple[SelectedRow, ...]:
    """The committed rows, with the names that tasks have in their samples files."""
    (group,) = select(read(MINI, known_experiments()), known_experiments()).groups
    return group.rows


def mini_row(method: str) -> SelectedRow:
    return next(row for row in study_rows() if row.label == method)


counts = st.lists(st.integers(0, 6), min_size=4, max_size=4)


def samples(run_id: str, rows: list[tuple[str, str, str]], sums: np.ndarray) -> Samples:
    """Rows are (task, id, group)."""
    tasks, ids, groups = ([row[part] for row in rows] for part in range(3))
    ones = np.ones((len(rows), len(COLUMNS) + 1 - sums.shape[1]))  # every sample has all scores
    return Samples(run_id=run_id, tasks=tasks, ids=ids, groups=groups, sums=np.hstack([sums, ones]))


def made_up(run_id: str, seed: int, n: int = 12, better: float = 0.0) -> Samples:
    """Two tasks of n records, some of which share a group; statistics that could be real."""
    rng = np.random.default_rng(seed)
    rows = [(task, f"{task}{i}", f"{task}{i // 2 if i < 4 else i}") for task in ("a", "b") for i in range(n)]
    tokens = rng.integers(5, 30, 2 * n)
    total = np.stack([tokens, tokens - 1, tokens - 2, tokens - 3], 1)
    correct = (total * rng.random((2 * n, 1)) * [0.9, 0.6, 0.4, 0.3]).astype(int)
    nats = tokens * (1.0 - better + 0.2 * rng.standard_normal(2 * n))
    return samples(run_id, rows, np.column_stack([nats, tokens, correct, total, tokens, tokens + 2, rng.random(2 * n)]))


def reference(drawn: list[np.ndarray]) -> list[float]:
    """Perplexity, sacrebleu's BLEU and mean ROUGE-L of rows of sums, one by one."""
    total = np.sum(drawn, axis=0)
    part = dict(zip(COLUMNS, total, strict=False))
    found = BLEU.compute_bleu(
        correct=[int(part[f"bleu_correct_{n}"]) for n in range(1, 5)],
        total=[int(part[f"bleu_total_{n}"]) for n in range(1, 5)],
        sys_len=int(part["prediction_length"]), ref_len=int(part["reference_length"]), smooth_method="exp",
    )  # fmt: skip
    return [math.exp(part["nats"] / part["tokens"]), found.score / 100, part["rouge_l"] / len(drawn)]


@given(counts, counts, st.integers(0, 9), st.integers(0, 9))
def test_bleu_is_sacrebleus(correct: list[int], extra: list[int], length: int, ref: int) -> None:
    """For any counts, with orders without matches, orders without n-grams, and empty predictions."""
    total = [c + e for c, e in zip(correct, extra, strict=True)]
    for order in range(1, 4):  # no n-gram of an order, and there is none of a higher one
        total[order] = total[order] if total[order - 1] else 0
    correct = [min(c, t) for c, t in zip(correct, total, strict=True)]
    expected = BLEU.compute_bleu(correct, total, length, ref, smooth_method="exp").score / 100
    sums = np.array([1.0, 1.0, *correct, *total, length, ref, 0.5, 1.0, 1.0, 1.0])
    assert score(sums)[1] == pytest.approx(expected, abs=1e-12)


def test_scores_of_a_draw_are_those_of_the_drawn_samples() -> None:
    """A resample is as if its groups, with all their records, had been tested: per task, as mean over tasks, pooled."""
    folds = {f: [made_up(f"x{f}", f), made_up(f"y{f}", f + 10)] for f in (0, 3)}
    found = resample({f: [[one] for one in members] for f, members in folds.items()}, resamples=4, seed=7)
    expected = np.zeros((4, 4, 2, 3))
    for fold, members in folds.items():
        names = {task: sorted({g for g in members[0].groups if g.startswith(task)}) for task in "ab"}
        times = {task: np.vstack(list(draws(7, fold, task, len(names[task]), 4))) for task in "ab"}
        for r in range(4):
            for m, run in enumerate(members):
                of = {
                    task: [
                        row
                        for name, n in zip(names[task], times[task][r], strict=True)
                        for row in [s for s, g in zip(run.sums, run.groups, strict=True) if g == name] * int(n)
                    ]
                    for task in "ab"
                }
                scores = [reference(of["a"]), reference(of["b"])]
                rows = [*scores, np.mean(scores, axis=0), reference(of["a"] + of["b"])]
                expected[:, r, m] += np.array(rows) / 2
    assert found.tasks == ["a", "b", "mean", "pooled"]
    assert found.groups == {"a": 20, "b": 20, "mean": 40, "pooled": 40}
    assert np.allclose(found.drawn, expected, rtol=1e-12)


def test_observed_scores_are_the_records() -> None:
    """On the committed records every mean, pooled and task score comes out of the samples files as it is recorded."""
    rows = [mini_row("hycam"), mini_row("lora")]
    found = bootstrap.resample_rows(rows, MINI, resamples=2)
    assert found.names == ["hycam", "lora"]
    for place, task in enumerate(found.tasks):
        for column, metric in enumerate(RESAMPLED):
            for number, row in enumerate(rows):
                assert found.observed[place, number, column] == pytest.approx(row.mean(metric, task), rel=1e-12)


def test_seeds_of_a_fold_are_averaged_on_the_same_draws() -> None:
    """A row with two seeds has the mean of their scores, in what was observed and in every draw."""
    a, b, other = made_up("a", 0), made_up("b", 1), made_up("o", 2)
    both, single = resample({0: [[a, b], [other]]}, 5), resample({0: [[a], [b], [other]]}, 5)
    assert np.allclose(both.drawn[:, :, 0], single.drawn[:, :, :2].mean(2), rtol=1e-12)
    assert np.allclose(both.observed[:, 0], single.observed[:, :2].mean(1), rtol=1e-12)
    assert np.array_equal(both.drawn[:, :, 1], single.drawn[:, :, 2])


def test_draws_do_not_depend_on_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks of any size the same; each draws as many groups as there are; another fold or task, another draw."""
    whole = np.vstack(list(draws(0, 1, "a", 9, 50)))
    assert (whole.sum(1) == 9).all()
    assert not np.array_equal(whole, np.vstack(list(draws(0, 2, "a", 9, 50))))
    assert not np.array_equal(whole, np.vstack(list(draws(0, 1, "b", 9, 50))))
    monkeypatch.setattr(bootstrap, "CHUNK", 30)
    chunks = list(draws(0, 1, "a", 9, 50))
    assert len(chunks) == 17
    assert np.array_equal(whole, np.vstack(chunks))


def test_equal_methods_differ_in_nothing_and_a_known_shift_is_found() -> None:
    """The same samples: difference 0, no width, half; clearly fewer nats: the interval is below 0, for perplexity."""
    same = resample({0: [[made_up("x", 0)], [made_up("y", 0)]]}, 100).compare(0, 1, "ppl")
    assert (same.difference, same.interval, same.share_better, same.groups) == (0.0, (0.0, 0.0), 0.5, 20)
    found = resample({0: [[made_up("x", 0, better=0.5)], [made_up("y", 0)]]}, 200)
    shifted = found.compare(0, 1, "ppl")
    assert shifted.interval[1] < 0
    assert shifted.share_better == 1.0
    assert found.compare(1, 0, "ppl").share_better == 0.0
    assert found.compare(0, 1, "rouge_l", "pooled").difference == 0.0


def rejected(tables: int, n: int, shared: float = 0.0) -> int:
    """In how many tables of two methods that differ by chance the interval of ROUGE-L leaves out 0.

    `shared` is the standard deviation of what the records of a group have in common.
    """
    count = 0
    for seed in range(tables):
        rng = np.random.default_rng(seed)
        rows = [("a", str(i), str(i // 2)) for i in range(n)]
        members = []
        for name in ("x", "y"):
            group = np.repeat(rng.standard_normal(n // 2), 2)
            sums = np.ones((n, len(COLUMNS)))
            sums[:, COLUMNS.index("rouge_l")] = rng.standard_normal(n) + shared * group
            members.append(samples(name, rows, sums))
        low, high = resample({0: [[one] for one in members]}, 200, seed).compare(0, 1, "rouge_l").interval
        count += not low <= 0 <= high
    return count


@pytest.mark.parametrize("shared", [0.0, 3.0])
def test_null_is_rejected_in_about_5_percent(shared: float) -> None:
    """With 60 groups, whether or not the records of a group are alike: within exact binomial bounds of 4 to 8%.

    A percentile interval of 60 groups is a little too narrow, so the rate is somewhat above 5%.
    """
    low, high = stats.binom.ppf(1e-5, 300, 0.04), stats.binom.ppf(1 - 1e-5, 300, 0.08)
    assert low <= rejected(300, 120, shared) <= high


def test_other_records_are_refused_by_name() -> None:
    """A record that one run lacks, or has in another group: the error names runs, task, id and how many differ."""
    rows = [("a", "1", "g"), ("a", "2", "h")]
    sums = np.ones((2, len(COLUMNS)))
    both = samples("x", rows, sums)
    with pytest.raises(ValueError, match=r"x was tested on a record 2, y was not \(records that differ: 1\)"):
        check_paired(both, samples("y", rows[:1], sums[:1]))
    with pytest.raises(ValueError, match="y was tested on a record 2, x was not"):
        check_paired(samples("x", rows[:1], sums[:1]), samples("y", rows, sums))
    with pytest.raises(ValueError, match="x and z: a record 2 is in another group"):
        check_paired(both, samples("z", [rows[0], ("a", "2", "i")], sums))
    with pytest.raises(ValueError, match="tested on"):
        resample({0: [[both]], 1: [[samples("y", [("b", "1", "g")], sums[:1])]]}, 2)


def test_order_of_a_file_does_not_matter() -> None:
    """Records are paired by id."""
    run = made_up("x", 0)
    back = Samples(run_id="y", tasks=run.tasks[::-1], ids=run.ids[::-1], groups=run.groups[::-1], sums=run.sums[::-1])
    assert resample({0: [[run], [back]]}, 20).compare(0, 1, "bleu4").interval == pytest.approx((0.0, 0.0), abs=1e-15)


def test_without_decoding_perplexity_alone_is_compared(tmp_path: Path) -> None:
    """A samples file of a run that decoded nothing has no overlap columns: those scores are None."""
    path = tmp_path / "r.samples.parquet"
    rows = [{"task": "a", "id": str(i), "group": str(i), "nats": 5.0 + i, "tokens": 4} for i in range(5)]
    pq.write_table(pa.Table.from_pylist(rows), path)
    run = Samples.read(path, "r")
    found = resample({0: [[run], [run]]}, 10)
    assert found.compare(0, 1, "ppl") is not None
    assert found.compare(0, 1, "bleu4") is None
    assert found.compare(0, 1, "rouge_l") is None


@pytest.mark.parametrize("null", [1, 3, 5])
def test_null_sample_counts_nothing_towards_rouge_l(tmp_path: Path, null: int) -> None:
    """ROUGE-L is the mean over the samples that have one; where there is none, nothing is compared."""
    path = tmp_path / "r.samples.parquet"
    counts = {f"bleu_{part}_{n}": 5 - n for part in ("correct", "total") for n in range(1, 5)}
    lengths = {"nats": 5.0, "tokens": 4, "prediction_length": 4, "reference_length": 4}
    rows = [
        {"task": "a", "id": str(i), "group": str(i), **lengths, **counts, "rouge_l": None if i < null else i / 10}
        for i in range(5)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    run = Samples.read(path, "r")
    known = [i / 10 for i in range(null, 5)]
    expected = sum(known) / len(known) if known else math.nan
    assert score(run.sums.sum(0))[1:] == pytest.approx([1.0, expected], nan_ok=True)
    found = resample({0: [[run], [run]]}, 10)
    assert found.compare(0, 1, "bleu4") is not None
    if not known:
        assert found.compare(0, 1, "rouge_l") is None


def test_bleu_without_a_reference_of_four_tokens_is_not_compared(tmp_path: Path) -> None:
    """Where no reference has a 4-gram, BLEU-4 is not defined, as in the record."""
    path = tmp_path / "r.samples.parquet"
    counts = {f"bleu_{part}_{n}": max(0, 4 - n) for part in ("correct", "total") for n in range(1, 5)}
    lengths = {"nats": 5.0, "tokens": 4, "prediction_length": 3, "reference_length": 3, "rouge_l": 1.0}
    rows = [{"task": "a", "id": str(i), "group": str(i), **lengths, **counts} for i in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), path)
    run = Samples.read(path, "r")
    found = resample({0: [[run], [run]]}, 10)
    assert found.compare(0, 1, "bleu4") is None
    assert found.compare(0, 1, "rouge_l") is not None


def test_unreadable_samples_are_named(tmp_path: Path) -> None:
    """No file, no Parquet, or no column of nats: an error with the path."""
    path = tmp_path / "r.samples.parquet"
    with pytest.raises(ValueError, match=r"r\.samples\.parquet: no samples file"):
        Samples.read(path, "r")
    path.write_text("x")
    with pytest.raises(ValueError, match="no samples file"):
        Samples.read(path, "r")
    pq.write_table(pa.Table.from_pylist([{"task": "a", "id": "1", "group": "1", "tokens": 1}]), path)
    with pytest.raises(ValueError, match=r"r\.samples\.parquet: no column nats"):
        Samples.read(path, "r")


@pytest.fixture
def source(tmp_path: Path) -> RecordSource:
    """The samples of two rows."""
    found = RecordSource(tmp_path / "records", tmp_path)
    found.records.mkdir()
    for run in (run for method in ("hycam", "lora") for run in mini_row(method).runs):
        shutil.copy(MINI.samples(run.id), found.records)
    return found


def compare(source: RecordSource, cache: Cache, resamples: int = 50) -> Bootstrap:
    """A bootstrap that has compared the two rows."""
    found = Bootstrap(source, cache, resamples)
    found.compare(mini_row("hycam"), mini_row("lora"), "ppl", "mean")
    return found


def sampled(source: RecordSource, row: SelectedRow) -> Path:
    return source.samples(row.runs[0].id)


def test_it_is_that_of_the_two_rows(source: RecordSource) -> None:
    """By score and task; of what is not defined there is none."""
    hycam, lora = mini_row("hycam"), mini_row("lora")
    drawn = bootstrap.resample_rows([hycam, lora], MINI, 50)
    found = Bootstrap(source, Cache(None), 50)
    for metric, task in (("ppl", "mean"), ("bleu4", mini_row("hycam").runs[0].tasks[0]), ("rouge_l", "pooled")):
        assert found.compare(hycam, lora, metric, task) == drawn.compare(0, 1, metric, task)
    assert found.compare(hycam, lora, "ppl", "absent") is None


def test_it_is_remembered_until_a_samples_file_changes(source: RecordSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or another number of resamples is asked for."""
    calls: list[object] = []
    whole = bootstrap.resample_rows
    monkeypatch.setattr(bootstrap, "resample_rows", lambda *how: calls.append(how) or whole(*how))
    cache = kept_in(source.out)
    compare(source, cache)
    cache.save()
    compare(source, kept_in(source.out))
    assert len(calls) == 1
    path = sampled(source, mini_row("lora"))
    pq.write_table(pq.read_table(path), path, compression="none")
    compare(source, kept_in(source.out))
    compare(source, kept_in(source.out), 60)
    assert len(calls) == 3


def test_samples_that_cannot_be_compared_are_named_in_every_report(source: RecordSource) -> None:
    """Other test records are a problem, once; no samples file is none, and there is no bootstrap."""
    path = sampled(source, mini_row("lora"))
    pq.write_table(pq.read_table(path).slice(1), path)
    cache = Cache(None)
    for _ in range(2):
        found = compare(source, cache)
        assert found.compare(mini_row("hycam"), mini_row("lora"), "bleu4", "mean") is None
        (problem,) = found.problems
        assert problem.place == "tiny_llama x hycam against lora"
        assert "a paired bootstrap needs the same test records" in problem.reason
    path.unlink()
    absent = compare(source, cache)
    assert (absent.compare(mini_row("hycam"), mini_row("lora"), "ppl", "mean"), absent.problems) == (None, [])
