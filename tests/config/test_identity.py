"""What decides a result, and the id of a run."""

from dataclasses import asdict, replace

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.config.identity import identity, run_id

CONTENT = {"data": "d", "model": "m", "retention": None}


def test_the_identity_ignores_where_and_how_a_run_is_made():
    """Hardware, logger, paths, folders and switches leave the run id as it is."""
    run = compose()
    same = [
        compose("trainer=gpu"),
        compose("logger=wandb"),
        compose("logger=tensorboard"),
        compose("paths.results=/r", "paths.outputs=/o", "paths.data=/d"),
        compose("overwrite=true", "retry=true", "resume=never", "study=mine"),
        compose("repetition=0"),
        compose("recipe.learning_rates.lora=1"),
    ]
    assert {run_id(other, CONTENT) for other in same} == {run_id(run, CONTENT)}


@pytest.mark.parametrize(
    "override",
    ["seed=1", "fold=1", "method.tau=1", "recipe.learning_rate=1", "recipe.precision=float64", "data.max_length=100",
     "recipe.global_batch_size=4", "data.split_seed=1", "evaluation.max_new_tokens=9", "method=lora",
     "data.loss_on=all"],
)  # fmt: skip
def test_every_deciding_value_changes_the_run_id(override):
    """Another value is another run."""
    assert run_id(compose(override), CONTENT) != run_id(compose(), CONTENT)


def test_other_content_is_another_run():
    """Data, backbone and general text are part of the identity by their hashes."""
    run = compose()
    ids = {run_id(run, {**CONTENT, key: "other"}) for key in CONTENT}
    assert len(ids | {run_id(run, CONTENT)}) == 4


def test_a_run_id_reads_as_model_method_data_fold_seed():
    """The id begins with what a person asks for, and ends with eight hex digits."""
    assert run_id(compose("fold=3", "seed=7"), CONTENT).rsplit("-", 1)[0] == "tiny_llama-hycam-mini-f3-s7"


def test_the_identity_holds_the_methods_settings():
    """The method's dataclass is part of the identity, field by field."""
    run = compose("released=[m11_router_init]")
    held = identity(asdict(run))["method"]
    assert {**held, "match": None} == asdict(run.method)
    assert identity(asdict(replace(run, seed=9)))["seed"] == 9


def test_a_method_that_is_matched_to_nothing_has_the_id_that_it_had_before_it_could_be():
    """`match` is in the identity where something is matched, and in that of the method that is matched nowhere."""
    assert "match" not in identity(asdict(compose("method=lora")))["method"]
    matched = identity(asdict(compose("method=lora_matched")))["method"]
    assert set(matched) == {"name", "match"}
    assert matched["match"] == identity(asdict(compose("method=hycam")))["method"]
    assert identity(asdict(compose("method=lora", "method.match=9")))["method"]["match"] == 9


def test_what_is_matched_may_be_named_or_given_and_is_the_same_run():
    """`method.match=hycam` is HyCAM's file, as lora_matched has it; a method matched to itself is not matched."""
    ids = [
        run_id(compose("method=lora_matched", *extra), CONTENT)
        for extra in ((), ("method.match=hycam",), ("method@method.match=hycam",))
    ]
    assert len(set(ids)) == 1
    assert run_id(compose("method=lora", "method.match=lora"), CONTENT) == run_id(compose("method=lora"), CONTENT)


def test_the_repetition_decides_the_seed_alone():
    """A fold has a seed of its own, and each repetition another; the same seed given by hand is the same run."""
    assert [compose(f"fold={fold}", f"repetition={k}").seed for fold in (0, 4) for k in (0, 1)] == [0, 10, 4, 14]
    assert compose("fold=2", "repetition=1", "seed=5").seed == 5
    crossed, given = compose("fold=2", "repetition=1"), compose("fold=2", "seed=12")
    assert run_id(crossed, CONTENT) == run_id(given, CONTENT)
