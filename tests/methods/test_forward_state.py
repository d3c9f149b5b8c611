"""Task ids: how they come in, that they are each row's own, and what a row of an unknown task gets."""

import copy

import pytest
import torch
from torch.nn import functional as F

from hycam_exp.methods import attach, auxiliary_loss, task_rows
from hycam_exp.methods.forward_state import UNTOLD, ForwardState
from tests.methods.conftest import tiny, tokens
from tests.methods.test_routed import TASKS, adapted

TOLD = ("mtl_lora", "mtl_lora_diagonal", "moelora")
INDEX = torch.tensor([2, 0])


@pytest.fixture(params=TOLD)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_row_of_a_task_is_itself_alone_and_in_a_mixed_batch(method):
    """Rows of other tasks in the batch change nothing, by index as by name; and the task does matter."""
    model = adapted(method).eval()
    mixed = model(tokens(), task_index=INDEX).logits
    for row in range(2):
        alone = model(tokens()[row : row + 1], task_index=INDEX[row : row + 1]).logits
        torch.testing.assert_close(mixed[row : row + 1], alone)
    with task_rows(model, [TASKS[i] for i in INDEX]):
        assert torch.equal(model(tokens()).logits, mixed)
    assert not torch.allclose(model(tokens(), task_index=INDEX.flip(0)).logits, mixed)


def test_an_id_is_resolved_by_name(method):
    """A mix in another order asks a saved adapter for the same rows."""
    model = adapted(method).eval()
    state = ForwardState.of(model.get_base_model())
    assert state.index_of(["law", "code"], training=False).tolist() == [2, 0]
    assert state.index_of(["law", "elsewhere"], training=False).tolist() == [2, -1]
    assert state.index_of([], training=True).tolist() == [-1]


def test_an_unknown_task_has_the_mean_rule_row_by_row(method):
    """-1, a strange name, no name and no index agree; and each row is decided by itself."""
    model = adapted(method).eval()
    without = model(tokens()).logits
    torch.testing.assert_close(model(tokens(), task_index=torch.tensor([-1, -1])).logits, without)
    for names in (["elsewhere", ""], []):
        with task_rows(model, names):
            torch.testing.assert_close(model(tokens()).logits, without)
    mixed = model(tokens(), task_index=torch.tensor([-1, 1])).logits
    torch.testing.assert_close(mixed[:1], without[:1])
    torch.testing.assert_close(mixed[1:], model(tokens()[1:], task_index=torch.tensor([1])).logits)


def test_the_mean_rule_of_mtl_lora_is_the_mean_of_matrices_and_of_weights():
    """An unknown task's update, computed from the equation with both means."""
    model = adapted("mtl_lora")
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    a, matrix, b, w = layer.parameters_of("default")
    x = torch.randn(1, 4, layer.in_features, dtype=torch.float64)
    g = torch.softmax(w / layer.config["default"].tau, -1).mean(0)
    expected = 2 * sum(g[i] * (x @ a.T @ matrix.mean(0).T @ b[i].T) for i in range(3))
    torch.testing.assert_close(layer.update("default", x), expected)
    layer.forward_state.task_index = torch.tensor([1])
    g = torch.softmax(w[1] / layer.config["default"].tau, -1)
    expected = 2 * sum(g[i] * (x @ a.T @ matrix[1].T @ b[i].T) for i in range(3))
    torch.testing.assert_close(layer.update("default", x), expected)


def test_the_gate_of_moelora_is_a_softmax_of_the_tasks_embedding():
    """A known task's update from the equation: row 0 is no task's, and the first layer's gate serves all."""
    model = adapted("moelora")
    first, last = (model.get_base_model().model.layers[i].mlp.down_proj for i in (0, 1))
    owner = model.get_base_model().model.layers[0].self_attn.q_proj
    embedding, gate = owner.moelora_embedding["default"], owner.moelora_gate["default"]
    a, b = last.parameters_of("default")
    x = torch.randn(1, 4, last.in_features, dtype=torch.float64)
    last.forward_state.task_index = torch.tensor([2])
    g = torch.softmax(gate @ embedding[3], -1)
    expected = 2 * sum(g[i] * (x @ a[i].T @ b[i].T) for i in range(2))
    torch.testing.assert_close(last.update("default", x), expected)
    assert first.gate_owner[0] is owner
    copied = copy.deepcopy(model).get_base_model().model.layers
    assert copied[1].mlp.down_proj.gate_owner[0] is copied[0].self_attn.q_proj


def test_a_forward_without_ids_forgets_those_before_it(method):
    """The rows of an earlier batch are used by no later one, be it called inside or after the block."""
    model = adapted(method).eval()
    without = model(tokens()).logits
    with task_rows(model, [TASKS[0]] * 2):
        model(tokens())
    model(tokens(), task_index=INDEX)
    assert torch.equal(model(tokens()).logits, without)


def test_recomputed_activations_see_the_same_tasks(method):
    """With checkpointing the gradients are those without, though the backward pass lies outside the block."""
    from hycam_exp.training.fit import checkpoint_activations

    plain, recomputed = adapted(method).train(), adapted(method).train()
    checkpoint_activations(recomputed)
    for model in (plain, recomputed):
        with task_rows(model, [TASKS[2], TASKS[0]]):
            logits = model(tokens(), use_cache=False).logits
        F.cross_entropy(logits.flatten(0, 1), tokens().flatten()).backward()
    for (name, p), q in zip(plain.named_parameters(), recomputed.parameters(), strict=True):
        if p.requires_grad:
            assert torch.equal(p.grad, q.grad), name


def test_left_padding_and_cached_decoding_change_nothing(method):
    """A row behind padding on its left, and one decoded token by token, has the logits of one pass."""
    model = adapted(method).eval()
    ids = tokens()
    whole = model(ids, task_index=INDEX).logits
    padded, mask = F.pad(ids, (3, 0)), F.pad(torch.ones_like(ids), (3, 0))
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    behind = model(padded, attention_mask=mask, position_ids=positions, task_index=INDEX).logits[:, 3:]
    torch.testing.assert_close(behind, whole)
    options = {"max_new_tokens": 6, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    cached = model.generate(input_ids=ids, task_index=INDEX, use_cache=True, **options)
    assert torch.equal(cached, model.generate(input_ids=ids, task_index=INDEX, use_cache=False, **options))
    with task_rows(model, [TASKS[i] for i in INDEX]):
        assert torch.equal(model.generate(input_ids=ids, **options), cached)


def test_every_beam_is_of_its_rows_task(method):
    """Beam search of a mixed batch gives each row what it gets alone."""
    model = adapted(method).eval()
    options = {"max_new_tokens": 6, "do_sample": False, "num_beams": 3, "num_return_sequences": 2}
    both = model.generate(input_ids=tokens(), task_index=INDEX, attention_mask=torch.ones_like(tokens()), **options)
    for row in range(2):
        one = tokens()[row : row + 1]
        alone = model.generate(
            input_ids=one, task_index=INDEX[row : row + 1], attention_mask=torch.ones_like(one), **options
        )
        assert torch.equal(both[2 * row : 2 * row + 2], alone)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 3], r"task_index=3: must be in -1\.\.2 \(code, medical, law; -1: unknown\)"),
        ([-2, 0], r"task_index=-2: must be in -1\.\.2"),
        ([0, 1, 2], "task_index is of 3 rows, and the batch has 2"),
    ],
)
def test_an_index_that_names_no_task_is_refused(index, message):
    """The error names the index and what it may be."""
    with pytest.raises(ValueError, match=message):
        adapted("mtl_lora")(tokens(), task_index=torch.tensor(index))


def test_a_task_that_is_unknown_in_training_is_refused(method):
    """By its name, with the names that there are; in evaluation it has the rule of unknown tasks."""
    model = adapted(method).train()
    with pytest.raises(ValueError, match="task elsewhere: the method's tasks are code, medical, law"):
        task_rows(model, ["elsewhere", "law"])


def test_training_without_ids_is_told_once(method):
    """Hugging Face's Trainer drops a column that it does not know: all rows would be of an unknown task."""
    model = adapted(method).train()
    with pytest.warns(UserWarning, match="is told the task and is trained without") as told:
        [model(tokens()) for _ in range(2)]
    assert [str(warning.message) for warning in told] == [UNTOLD]
    model = adapted(method).train()
    with task_rows(model, []):  # a filler batch: nothing of it counts, and nothing is told
        model(tokens())


def test_the_trainer_hands_on_a_column_of_task_ids(tmp_path):
    """An integer column reaches the layers as it stands: the gradients of HF's Trainer are those of the same call."""
    from transformers import Trainer, TrainingArguments

    model, expected = adapted("mtl_lora", dtype=torch.float32), adapted("mtl_lora", dtype=torch.float32).train()
    start = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    records = [
        {"input_ids": row, "labels": row, "task_index": int(task)} for row, task in zip(tokens(), INDEX, strict=True)
    ]
    options = TrainingArguments(
        output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=2, learning_rate=1e-2, optim="sgd",
        lr_scheduler_type="constant", max_grad_norm=0.0, train_sampling_strategy="sequential", save_strategy="no",
        report_to="none", disable_tqdm=True, use_cpu=True, remove_unused_columns=False,
    )  # fmt: skip
    Trainer(model=model, args=options, train_dataset=records).train()
    expected(tokens(), labels=tokens(), task_index=INDEX).loss.backward()
    moved = dict(model.named_parameters())
    for name, parameter in expected.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(moved[name], start[name] - 1e-2 * parameter.grad, msg=name)


def test_for_other_methods_the_manager_changes_nothing():
    """HyCAM, LoRA and routed methods take no names."""
    from hycam_exp.config.compose import compose

    for model in (adapted("hydralora").eval(), attach(tiny("llama"), compose("method=hycam").method).eval()):
        expected = model(tokens()).logits
        with task_rows(model, ["anything"] * 2):
            assert torch.equal(model(tokens()).logits, expected)
        assert auxiliary_loss(model) is None
