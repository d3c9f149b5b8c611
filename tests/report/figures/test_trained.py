"""The figures that need a trained model."""

import csv
import json
import shlex
from dataclasses import asdict, replace

import pytest
import torch

from hycam_exp.config.compose import compose
from hycam_exp.report import settings
from hycam_exp.report.figures import trained, tsne, weight_matrix
from hycam_exp.report.figures.__main__ import main
from hycam_exp.report.frame import parsed
from hycam_exp.report.sources import RecordSource
from tests.report.conftest import MINI, RESULTS


@pytest.mark.parametrize("method", ["hycam", "riemoe_lora"])
def test_the_command_makes_the_same_run(method):
    """What an absent adapter's message says to run has every setting that decides a result, for a recorded run with
    settings of its own."""
    path = next(path for path in sorted(MINI.records.glob(f"*-{method}-*-f3-*.json")) if "null" in path.read_text())
    record = parsed(path)
    words = shlex.split(trained.command(record.config))
    assert words[:3] == ["python", "-m", "hycam_exp"]
    run = compose(*words[3:])
    recorded, composed = settings.values(record.config), settings.values(asdict(run))
    assert settings.differing(recorded, composed) == []
    assert (run.fold, run.seed) == (record.config["fold"], record.config["seed"])
    assert run.paths.results == trained.REMADE


@pytest.mark.parametrize(
    "overrides",
    [
        ("method=hycam", "data=paper_mix", "data.weights={dolly:2.0,web_gpt:0.5}", "data.max_per_task=90"),
        ("method=hycam", "data=generic", "data.root='a folder, of mine/x=1'", "data.fields.mine.input=the context"),
        ("method=hycam", "data=generic", "data.tasks=[yours]", "data.root='/data/it\\'s'",
         "+data.fields.yours={instruction:'q\\\\',output:'1'}"),
        ("method=hycam", "method.layers=[0,1]", "method.routing.hard=true", "recipe.clip=null",
         "recipe.betas=[0.5,1e-3]"),
        ("model=local", "model.path=a/b", "method=lora", "recipe.learning_rate=1e-05", "method.alpha=3"),
        ("model=llama3_2_1b", "method=hycam", "method.layer_stride=2", "data.prompt=plain", "seed=3", "fold=2"),
    ],
)  # fmt: skip
def test_the_command_composes_to_the_config(overrides):
    """Whatever was set: lists, mappings where the default is null, texts with signs of Hydra's grammar."""
    run = compose(*overrides)
    again = compose(*shlex.split(trained.command(asdict(run)))[3:])
    assert replace(again, paths=run.paths, trainer=run.trainer) == run


def test_an_absent_adapter_names_the_command(tmp_path):
    """A recorded run without its adapter is one line, with the command that trains it again."""
    run_id = next(MINI.records.glob("*-hycam-*-f3-*.json")).stem
    with pytest.raises(SystemExit, match=f"error: run={run_id}: no adapter in .*python -m hycam_exp .*fold=3"):
        main([f"run={run_id}", f"results={RESULTS}", f"outputs={tmp_path}"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A HyCAM run of a few steps, loaded again."""
    from hycam_exp.cell import run_cell
    from tests.test_cell import quick

    folder = tmp_path_factory.mktemp("figures")
    run = quick(folder, "method=hycam", "recipe.learning_rate=1e-2")
    run_id = run_cell(run).run_id
    return folder, run_id, trained.load(run_id, folder / "outputs", [RecordSource.own(folder / "results")])


@pytest.mark.slow
def test_the_matrix_is_what_the_attention_output_is_scaled_by(finished):
    """h_out = h_att * (1 + A) at every token and feature of every block; and A is not zero after training."""
    *_, found = finished
    row = weight_matrix.sample(found.rows, "mini_passage")
    assert row.task == "mini_passage"
    seen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    before: dict[int, torch.Tensor] = {}
    for block, layer in found.layers.items():
        layer.base_layer.register_forward_hook(lambda _, i, output, block=block: before.update({block: output[0]}))
        layer.register_forward_hook(lambda _, i, output, block=block: seen.update({block: (before[block], output[0])}))
    factors = weight_matrix.modulations(found, row)
    assert set(factors) == set(found.layers)
    for block, factor in factors.items():
        h_att, h_out = seen[block]
        assert torch.allclose(h_att[0] * factor, h_out[0].double(), atol=1e-6)
        assert (factor - 1).abs().max() > 1e-4


@pytest.mark.slow
def test_the_command_draws_both_twice_the_same(finished, tmp_path):
    """Byte for byte; the data have a row for each token and feature, and for each token, kind and state."""
    folder, run_id, found = finished
    for name in ("a", "b"):
        places = [f"results={folder / 'results'}", f"outputs={folder / 'outputs'}", f"folder={tmp_path / name}"]
        main([f"run={run_id}", *places])
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert [str(path) for path in files] == [
        f"{run_id}/{name}.{suffix}" for name in ("tsne", "weight_matrix") for suffix in ("csv", "pdf", "png")
    ]
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path
    row = weight_matrix.sample(found.rows, None)
    matrix = list(csv.DictReader((tmp_path / "a" / files[3]).read_text().splitlines()))
    blocks = weight_matrix.chosen_blocks(list(found.layers))
    width = next(iter(found.layers.values())).width
    assert len(matrix) == len(blocks) * min(weight_matrix.TOKENS, len(row.input_ids)) * min(
        weight_matrix.FEATURES, width
    )
    points = list(csv.DictReader((tmp_path / "a" / files[0]).read_text().splitlines()))
    assert len(points) == 4 * len(tsne.chosen(found.rows, found.tasks))


@pytest.mark.slow
def test_without_cam_is_the_backbone(finished):
    """A block's values change by the CAMs before it: the first block's not at all; its attention outputs do."""
    *_, found = finished
    points = tsne.chosen(found.rows, found.tasks, 3)
    first, last = (tsne.vectors(found, points, block) for block in (min(found.layers), max(found.layers)))
    assert (first["value", "with"] == first["value", "without"]).all()
    assert (first["attention", "with"] != first["attention", "without"]).any()
    assert (last["value", "with"] != last["value", "without"]).any()


@pytest.mark.slow
def test_a_wrong_choice_is_one_line(finished, tmp_path):
    """A task or block that is not there, and data that are no longer the run's."""
    folder, run_id, _ = finished
    given = [f"run={run_id}", f"outputs={folder / 'outputs'}", f"folder={tmp_path}"]
    with pytest.raises(SystemExit, match=r"error: task=x: the run's tasks are .*mini_passage"):
        main([*given, "task=x", f"results={folder / 'results'}"])
    with pytest.raises(SystemExit, match="error: blocks=77: the modulated blocks are 0, 1"):
        main([*given, "blocks=0,77", f"results={folder / 'results'}"])
    changed = json.loads((folder / "results" / "runs" / f"{run_id}.json").read_text())
    changed["data"]["split"] = "another"
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / f"{run_id}.json").write_text(json.dumps(changed))
    with pytest.raises(SystemExit, match=f"error: {run_id}: the data have changed since"):
        main([*given, f"results={tmp_path}"])
    assert sorted(tmp_path.iterdir()) == [tmp_path / "runs"]
