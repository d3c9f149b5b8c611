"""One cell end to end, on random tiny backbones and a few generated records."""

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hycam_exp import cell
from hycam_exp.cell import Cell, run_cell
from hycam_exp.config.compose import compose
from hycam_exp.config.settings import Run
from hycam_exp.evaluation.generation import Decoder
from hycam_exp.records.record import RunRecord
from hycam_exp.records.store import Store

_LOCK = Store.lock
QUICK = (
    "model=tiny_qwen2", "data.max_per_task=20", "data.tasks=[mini_reasoning,mini_passage]", "recipe.epochs=1",
    "recipe.global_batch_size=8", "recipe.validations_per_epoch=2", "recipe.max_new_tokens=6",
    "recipe.compare_single=1",
)  # fmt: skip


def quick(tmp_path: Path, *overrides: str) -> Run:
    """A cell that takes a second or two, with a short general text."""
    text = tmp_path / "general.txt"
    text.write_text("The river runs through the town.\n\nThe baker sells bread in the morning.")
    paths = (f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}")
    return compose(*QUICK, *paths, f"model.retention_text={text}", *overrides)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Run, RunRecord]:
    folder = tmp_path_factory.mktemp("cell")
    run = quick(folder)
    return folder, run, run_cell(run)


def test_a_record_holds_scores_for_every_task_metric_and_state(finished):
    """PPL in its definitions, BLEU-4, ROUGE-L and caps are there per task, as mean and pooled, before and after."""
    _, _, record = finished
    for metric in ("ppl", "ppl_without_eos", "bits_per_byte", "bleu4", "rouge_l"):
        for task in ("mini_reasoning", "mini_passage", "mean", "pooled"):
            assert record.score(metric, task) is not None, (metric, task)
            assert record.score(f"{metric}_before", task) is not None, (metric, task)
    assert record.score("ppl_released", "pooled") is not None
    assert record.score("cap_share", "mini_reasoning") is not None
    assert record.score("batch_difference_share", "mini_passage") is not None
    assert set(record.metrics) == {s.metric for s in record.scores}


def test_retention_is_the_relative_change_of_the_general_texts_perplexity(finished):
    """ppl_change is after over before, minus one."""
    _, _, record = finished
    before, after = (record.score(m, "retention") for m in ("ppl_before", "ppl"))
    assert record.score("ppl_change", "retention") == pytest.approx(after / before - 1)


def test_every_row_read_is_accounted_for(finished):
    """Rows are rejected, left out by the cap, too long, or in exactly one part of the fold."""
    _, _, record = finished
    for counts in record.counts.records.values():
        parts = sum(getattr(counts, k) for k in ("rejected", "left_out", "too_long", "train", "validation", "test"))
        assert counts.rows == parts
        assert (counts.train, counts.validation, counts.test) == (14, 4, 2)


def test_the_samples_file_gives_the_records_scores(finished):
    """The test samples' nats and tokens add up to the record's perplexity."""
    import math

    folder, _, record = finished
    table = pq.read_table(folder / "results" / "runs" / f"{record.run_id}.samples.parquet").to_pylist()
    assert len(table) == 4
    rows = [row for row in table if row["task"] == "mini_passage"]
    mean = math.fsum(row["nats"] for row in rows) / sum(row["tokens"] for row in rows)
    assert record.score("ppl", "mini_passage") == pytest.approx(math.exp(mean))


def test_what_lies_beside_a_record(finished):
    """Adapter, tokenizer, predictions and curves are in the run's folder; the training state is gone."""
    folder, _, record = finished
    outputs = folder / "outputs" / record.run_id
    assert (outputs / "adapter" / "adapter_model.safetensors").is_file()
    assert (outputs / "adapter" / "tokenizer.json").is_file()
    modes = {path.stat().st_mode & 0o777 for path in outputs.rglob("*") if path.is_file()}
    assert modes == {(outputs / "attempt.json").stat().st_mode & 0o777}, (
        "whom they may be read by is the umask's to say"
    )
    card = (outputs / "adapter" / "README.md").read_text()
    assert "import hycam_exp.methods" in card
    assert f"| pooled | ppl | {record.score('ppl', 'pooled'):.4g} |" in card
    assert (outputs / "curves" / "attempt_1" / "metrics.csv").is_file()
    assert len((outputs / "predictions" / "after.jsonl").read_text().splitlines()) == 4
    assert not (outputs / "training").exists()


def test_a_finished_cell_is_not_run_again(finished, monkeypatch, capsys):
    """The same command prints the record that is there; overwrite=true is the way to run it again."""
    _, run, record = finished
    monkeypatch.setattr(cell.Cell, "finish", lambda self: pytest.fail("the cell ran again"))
    assert run_cell(run) == record
    assert "finished before; overwrite=true" in capsys.readouterr().out
    other = replace(run, trainer=replace(run.trainer, micro_batch_size=3))
    assert run_cell(other) == record, "how a step is cut is no part of what a cell is"
    had = f"with trainer.micro_batch_size={run.trainer.micro_batch_size}, of which its identity is free"
    assert f"finished before, {had}; overwrite=true" in capsys.readouterr().out


@contextmanager
def _held_late(store: Store, run_id: str, meanwhile: Callable[[], object]) -> Iterator[None]:
    """A lock that is free only after another process has had the cell, and left this behind."""
    meanwhile()
    with _LOCK(store, run_id):
        yield


def test_a_cell_that_another_finishes_while_this_one_waits_for_it_is_not_run_again(
    finished, tmp_path, monkeypatch, capsys
):
    """The record is looked for again once the cell is held, so that two commands compute nothing twice."""
    _, _, record = finished
    monkeypatch.setattr(Store, "lock", lambda store, run_id: _held_late(store, run_id, lambda: store.write(record)))
    monkeypatch.setattr(Cell, "finish", lambda self: pytest.fail("the cell ran again"))
    assert run_cell(quick(tmp_path)) == record
    assert "finished before" in capsys.readouterr().out


def test_a_cell_that_fails_elsewhere_while_this_one_waits_for_it_is_not_tried_too_often(tmp_path, monkeypatch):
    """Failures are counted again once the cell is held; and it is free again after the refusal."""

    def fail_twice(store: Store, run_id: str) -> None:
        for _ in range(2):
            store.add_failure(run_id, ValueError("no luck"))

    late = lambda store, run_id: _held_late(store, run_id, lambda: fail_twice(store, run_id))  # noqa: E731
    monkeypatch.setattr(Store, "lock", late)
    monkeypatch.setattr(Cell, "finish", lambda self: pytest.fail("the cell ran again"))
    run = quick(tmp_path)
    with pytest.raises(ValueError, match=r"failed 2 times \(no luck\); retry=true"):
        run_cell(run)
    folder = next((tmp_path / "outputs").glob("*/lock")).parent
    assert Store.of(run).is_locked(folder.name) is False


def test_the_same_cell_elsewhere_gives_the_same_scores(finished, tmp_path):
    """Two runs of one configuration agree bit for bit."""
    _, _, record = finished
    other = run_cell(quick(tmp_path))
    assert other.run_id == record.run_id
    assert other.scores == record.scores
    assert other.curves == record.curves


@pytest.mark.parametrize("method", ["lora", "full_ft"])
def test_the_other_methods_work_the_same_way(tmp_path, method):
    """LoRA and full fine-tuning give records with the same scores, and something that can be loaded."""
    record = run_cell(quick(tmp_path, f"method={method}"))
    assert record.score("ppl", "mean") is not None
    adapter = tmp_path / "outputs" / record.run_id / "adapter"
    assert (adapter / ("adapter_model.safetensors" if method == "lora" else "model.safetensors")).is_file()


def test_a_resumed_cell_counts_the_seconds_of_the_responses_that_it_goes_on_from(tmp_path, monkeypatch):
    """Interrupted after the first batch of responses, it adds its own seconds to those that this batch took."""
    run = quick(tmp_path, "trainer.evaluation_batch_size=1", "recipe.compare_single=0")
    decode, slow = Decoder.decode, [0.0, 0.3]

    def interrupted(decoder, rows):
        if not slow:
            raise KeyboardInterrupt
        time.sleep(slow.pop())
        return decode(decoder, rows)

    monkeypatch.setattr(Decoder, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_cell(run)
    monkeypatch.setattr(Decoder, "decode", decode)
    (kept,) = (tmp_path / "outputs").glob("*/predictions/before.seconds")
    seconds = float(kept.read_text())
    assert 0.3 < seconds < run_cell(run).cost.seconds["generate_before"]


def test_overwrite_runs_a_finished_cell_again(tmp_path):
    """The new record replaces the old one and says the same."""
    first = run_cell(quick(tmp_path, "evaluation.generate=false"))
    path = tmp_path / "results" / "runs" / f"{first.run_id}.json"
    old = path.stat().st_mtime_ns
    second = run_cell(quick(tmp_path, "evaluation.generate=false", "overwrite=true"))
    assert second.scores == first.scores
    assert path.stat().st_mtime_ns > old


def test_without_general_text_retention_is_null_with_a_note(tmp_path):
    """Absent is None, never a number, and the record says why."""
    record = run_cell(quick(tmp_path, "model.retention_text=null", "evaluation.generate=false"))
    assert record.score("ppl_change", "retention") is None
    assert any("retention was not measured" in note for note in record.notes)


def test_a_failing_cell_leaves_a_failure_and_no_record(tmp_path):
    """A loss that is not finite is on file with its attempt; after two failures the cell is reported, not run."""
    run = quick(
        tmp_path, "method=full_ft", "recipe.learning_rate=1e30", "recipe.clip=null", "evaluation.generate=false"
    )
    for _ in range(2):
        with pytest.raises(ValueError, match="loss is"):
            run_cell(run)
    failures = next((tmp_path / "outputs").glob("*/failures.jsonl")).read_text().splitlines()
    assert [json.loads(line)["attempt"] for line in failures] == [1, 2]
    assert json.loads(failures[0])["error"] == "NonFiniteLossError"
    assert list((tmp_path / "results" / "runs").iterdir()) == []
    with pytest.raises(ValueError, match=r"failed 2 times .* retry=true"):
        run_cell(run)


def test_a_full_disk_leaves_no_half_record(tmp_path, monkeypatch):
    """An error while the record is written leaves neither it nor a temporary file."""
    real = os.fsync

    def full(descriptor: int) -> None:
        if "runs" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ValueError, match="No space left"):
        run_cell(quick(tmp_path, "evaluation.generate=false"))
    assert list((tmp_path / "results" / "runs").iterdir()) == []


def test_a_fold_too_small_for_its_parts_is_refused(tmp_path):
    """A data set whose parts would be empty is an error that names the part."""
    source = tmp_path / "few.json"
    source.write_text(json.dumps([{"instruction": "a", "input": "", "output": "b"}]))
    with pytest.raises(ValueError, match=r"the (train|validation|test) part of fold 1 is empty"):
        run_cell(quick(tmp_path, "data.tasks=[auto_cot]", f"data.root={source}", "fold=1"))


def test_a_length_above_the_models_positions_is_refused_before_loading(tmp_path, monkeypatch):
    """The error names both numbers, and no weight is read."""
    monkeypatch.setattr("hycam_exp.cell.load_model", lambda *a: pytest.fail("weights were loaded"))
    with pytest.raises(ValueError, match=r"max_length=2000 is above the 1024 positions"):
        run_cell(quick(tmp_path, "data.max_length=2000"))


def test_a_rank_above_the_width_is_refused_before_loading(tmp_path, monkeypatch):
    """The error names the rank and the width, and no weight is read."""
    monkeypatch.setattr("hycam_exp.cell.load_model", lambda *a: pytest.fail("weights were loaded"))
    with pytest.raises(ValueError, match=r"method\.rank=65: .* width 64"):
        run_cell(quick(tmp_path, "method.rank=65"))


def test_all_records_too_long_is_refused(tmp_path):
    """Where no record has room for a response, the error says so with the length."""
    with pytest.raises(ValueError, match=r"all \d+ are too long for data.max_length=8"):
        run_cell(quick(tmp_path, "data.max_length=8"))


def test_a_gpu_that_is_not_there_is_named(tmp_path):
    """trainer=gpu without a GPU says so, and what runs instead."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ValueError, match="trainer=gpu: torch finds no GPU here; trainer=cpu"):
        run_cell(quick(tmp_path, "trainer=gpu"))


def test_record_says_what_the_router_did(finished):
    """Each layer and task has a mean weight for every module, one in all, an entropy of at most log N_s, and tokens."""
    import math

    _, run, record = finished
    places = [(row.layer, row.task) for row in record.routing]
    assert places == [
        (f"model.layers.{i}.self_attn", task) for i in range(2) for task in ("mini_passage", "mini_reasoning")
    ]
    for row in record.routing:
        assert len(row.weights) == run.method.num_specialized
        assert sum(row.weights) == pytest.approx(1, abs=1e-5)
        assert 0 < row.entropy <= math.log(run.method.num_specialized) + 1e-6
        assert row.tokens > 0


def test_share_of_clipped_steps_is_recorded(finished, tmp_path):
    """It is counted from the norms of the curve, and None where nothing is clipped."""
    _, run, record = finished
    norms = [row["gradient_norm"] for row in record.curves.train]
    assert record.fit.clipped_share == sum(norm > run.recipe.clip for norm in norms) / len(norms)
    free = run_cell(quick(tmp_path, "recipe.clip=null", "evaluation.test=false"))
    assert free.fit.clipped_share is None


def test_padding_to_the_limit_leaves_micro_batches_their_rows(tmp_path, monkeypatch):
    """Every row is data.max_length long, no micro-batch has more than it may, and the record tells the share."""
    from hycam_exp.training.fit import FineTuning

    shapes, step = [], FineTuning.training_step

    def noting(self, batch, index):
        shapes.append(tuple(batch.input_ids.shape))
        return step(self, batch, index)

    monkeypatch.setattr(FineTuning, "training_step", noting)
    run = quick(tmp_path, "data.padding=max_length", "trainer.micro_batch_size=3", "evaluation.test=false")
    record = run_cell(run)
    assert max(rows for rows, _ in shapes) <= 3
    assert {length for _, length in shapes} == {run.data.max_length}
    positions = sum(rows * length for rows, length in shapes)
    assert record.fit.padding_share == pytest.approx(1 - record.counts.tokens_trained / positions, abs=1e-6)
    assert 0 < record.fit.step_task_entropy < 1.2  # of an unlucky draw it is not bounded by 1


def test_cell_without_the_test_split_scores_nothing_of_it(tmp_path):
    """With evaluation.test=false the record has the validation loss, no score, and no samples file."""
    record = run_cell(quick(tmp_path, "evaluation.test=false"))
    assert record.scores == []
    assert record.fit.best_validation_loss > 0
    assert [path.suffix for path in (tmp_path / "results" / "runs").iterdir()] == [".json"]


def test_a_method_that_rewrites_the_backbone_is_measured_against_the_backbone_as_it_was(tmp_path, finished):
    """PiSSA leaves another weight behind its adapter; what stands before it in the record is the plain backbone."""
    record = run_cell(quick(tmp_path, "method=pissa", "evaluation.generate=false"))
    assert record.score("ppl_before", "mean") == finished[2].score("ppl_before", "mean")
    assert not [note for note in record.notes if "does not start" in note]


def test_a_start_that_is_not_the_backbone_is_noted(tmp_path):
    """A prefix is seen from the first step on; the cell is trained, decoded and saved with it."""
    record = run_cell(quick(tmp_path, "method=prefix_tuning", "method.config.num_virtual_tokens=4"))
    (note,) = [note for note in record.notes if "does not start" in note]
    assert note.startswith("method=prefix_tuning does not start as the backbone: before the first step it moves logits")
    assert record.score("bleu4", "mean") is not None
    assert record.score("batch_difference_share", "mini_passage") == 0


def test_a_budget_that_cannot_be_matched_is_refused_before_weights_are_loaded(tmp_path, monkeypatch):
    """One line, and no failure of the cell: nothing of it has begun."""
    monkeypatch.setattr(cell, "load_model", lambda *_: pytest.fail("weights were loaded"))
    run = quick(tmp_path, "method=hycam_shared_only", "method.match=7")
    with pytest.raises(
        ValueError, match=r"^method\.match=7: method=hycam_shared_only cannot train 7 parameters within 10%"
    ):
        run_cell(run)


def test_what_peft_refuses_is_refused_before_weights_are_loaded(tmp_path, monkeypatch):
    """As is a field that PEFT does not know."""
    monkeypatch.setattr(cell, "load_model", lambda *_: pytest.fail("weights were loaded"))
    with pytest.raises(ValueError, match=r"^method\.config\.rnk=3: PEFT's LoraConfig has no such field"):
        run_cell(quick(tmp_path, "method=dora", "+method.config.rnk=3"))


def test_matched_lora_records_both_budgets(tmp_path):
    """The record has HyCAM's number of parameters beside LoRA's, and the rank at which they are closest."""
    hycam = run_cell(quick(tmp_path, "evaluation.test=false")).counts.parameters_trainable
    counts = run_cell(quick(tmp_path, "evaluation.test=false", "method=lora_matched")).counts
    assert counts.chosen["parameters_matched"] == hycam
    per_rank = counts.parameters_trainable / counts.chosen["rank"]
    assert abs(counts.parameters_trainable - hycam) <= per_rank / 2
