"""Records and tokens of a mix: from disk, from Table 1, or not known."""

import json
from dataclasses import asdict

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.data.batches import Schedule, StepSizes
from hycam_exp.data.records import content_hash
from hycam_exp.data.sources import read as read_sources
from hycam_exp.data.splits import capped
from hycam_exp.data.tokens import tokenise
from hycam_exp.launch.cell_status import Data, read_mix
from hycam_exp.models.backbone import examine
from hycam_exp.plan.workload import workload

TASKS = ["auto_cot", "icliniq"]


def test_the_generated_tasks():
    """100 records of five tasks, split 7:2:1, measured by the embedded tokenizer."""
    run = compose("data.max_per_task=100")
    data = read_mix(run.data)
    load = workload(run, data)
    assert data.hash == content_hash(read_sources(run.data.tasks, None).records)
    assert load is not None
    assert load.train + load.validation + load.test == 500
    assert abs(load.train - 350) < 10
    assert 50 < load.tokens < 400
    assert (load.records_from, load.tokens_from) == ("the disk", "the tokenizer, on 500 records")


def test_padding_is_that_of_the_steps_of_training():
    """It lies within 2 points of what all records have in the steps of another seed; padding to the limit is counted in
    the tokens, and of one row a micro-batch there is none. Lengths and targets are those of the tokens of training."""
    run = compose("data.max_per_task=100", "trainer.micro_batch_size=4")
    load = workload(run, read_mix(run.data))
    assert load is not None
    assert load.padding is not None
    chosen = capped(read_mix(run.data).records, 100, run.data.group, run.data.split_seed)
    tokenizer = examine(run.model, run.trainer, run.recipe.precision).tokenizer
    rows, _ = tokenise(chosen, tokenizer, run.data.prompt, run.data.max_length)
    lengths = [len(row.input_ids) for row in rows]
    assert load.tokens == pytest.approx(sum(lengths) / 500, rel=1e-12)
    assert load.targets == pytest.approx(sum(row.num_targets("response") for row in rows) / 500, rel=1e-12)
    assert load.target_share(101) == pytest.approx(load.targets / 100, rel=1e-12)
    schedule = Schedule(lengths, run.data.max_length, epochs=1, seed=7, **asdict(StepSizes.of(run.recipe, run.trainer)))
    batches = [rows for window in schedule.windows(0) for rows in schedule.micro_batches(window)]
    computed = sum(len(rows) * max(lengths[i] for i in rows) for rows in batches)
    assert load.padding == pytest.approx(1 - sum(lengths) / computed, abs=0.02)
    for override in ("data.padding=max_length", "trainer.micro_batch_size=1"):
        other = workload(compose("data.max_per_task=100", override), read_mix(run.data))
        assert other is not None
        assert other.padding == 0


def test_absent_data_are_those_of_table_1():
    """5,816 and 7,321 samples of 162.22 and 249.46 tokens, and the reason why they were not read."""
    run = compose("data=paper_mix", "data.root=nowhere", f"data.tasks={json.dumps(TASKS)}")
    data = read_mix(run.data)
    load = workload(run, data)
    assert data.hash is None
    assert "nowhere" in (data.problem or "")
    assert load is not None
    assert (load.train, load.validation, load.test) == (9196, 2627, 1314)
    assert abs(load.tokens - (5816 * 162.22 + 7321 * 249.46) / 13137) < 1e-9
    assert load.records_from == load.tokens_from == "the paper's Table 1"
    assert (load.targets, load.target_share(100)) == (None, 1)


def test_weights_count_records_more_often():
    """A task of weight 2 is trained on twice."""
    once = workload(compose("data.max_per_task=20"), read_mix(compose().data))
    twice = workload(compose("data.max_per_task=20", "+data.weights={mini_passage:2}"), read_mix(compose().data))
    assert once is not None
    assert twice is not None
    assert once.train < twice.train < 2 * once.train


def test_absent_data_of_ones_own_are_not_known():
    """There is no table to ask."""
    run = compose("data=generic", "data.root=nowhere")
    assert workload(run, read_mix(run.data)) is None


def test_without_a_tokenizer_lengths_of_generated_tasks_are_the_most():
    """A hub's backbone has no file here, and the paper's Table 1 says nothing of the mini set."""
    records = read_mix(compose("data.max_per_task=20").data).records
    run = compose("model=llama3_8b", "data=mini")
    load = workload(run, Data(records=records, hash="x", problem=None))
    assert load is not None
    assert (load.tokens_from, load.tokens) == ("data.max_length, the most there can be", 512)
    padded = workload(compose("model=llama3_8b", "data=mini", "data.padding=max_length"), read_mix(run.data))
    assert padded is not None
    assert padded.tokens == 512


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_a_broken_tokenizer_is_named(tmp_path, content):
    """The backbone's file is in the error, whatever the library raises."""
    (tmp_path / "config.json").write_text("{}")
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    run = compose("model=local", f"model.path={tmp_path}", "data.max_per_task=10")
    with pytest.raises(ValueError, match=f"^{path}: "):
        workload(run, read_mix(run.data))
