"""The life of a HyCAM adapter in PEFT's hands: saved, loaded, switched, deleted; and files that must not load."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from hycam_exp.methods import adapter_file, auxiliary_loss
from hycam_exp.methods.hycam import HyCAMConfig
from tests.methods.conftest import VOCABULARY, WIDTH, perturb, tiny, tokens

FILE = "adapter_model.safetensors"
FIRST, SECOND = {"r": 4, "num_specialized": 3}, {"r": 2, "num_specialized": 5, "tau": 1.0}


def config(**changes) -> HyCAMConfig:
    return HyCAMConfig(**{"task_type": "CAUSAL_LM", **FIRST, **changes})


def saved(folder: Path, scale: float = 0.3, **changes) -> Path:
    """The folder of an adapter off its initial values."""
    model = get_peft_model(tiny("llama"), config(**changes))
    perturb(model, scale)
    model.save_pretrained(folder)
    return folder


def logits(model) -> torch.Tensor:
    return model.eval()(tokens()).logits.detach()


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Two adapters of different rank, number of CAMs and temperature."""
    return saved(tmp_path / "first", **FIRST), saved(tmp_path / "second", 0.2, **SECOND)


@pytest.fixture
def alone(folders) -> list[torch.Tensor]:
    """The logits of the two adapters, each alone on its backbone."""
    return [logits(PeftModel.from_pretrained(tiny("llama"), folder)) for folder in folders]


@pytest.fixture
def both(folders) -> PeftModel:
    """The two side by side on one backbone."""
    model = PeftModel.from_pretrained(tiny("llama"), folders[0], adapter_name="first")
    model.load_adapter(folders[1], "second")
    return model


def test_two_adapters_are_switched_without_a_trace(both, alone):
    """Whichever was active before, the active one gives exactly the logits that it has alone."""
    assert not torch.equal(*alone)
    for name, expected in (("first", alone[0]), ("second", alone[1]), ("first", alone[0])):
        both.set_adapter(name)
        assert torch.equal(logits(both), expected)


def test_a_deleted_adapter_leaves_the_other_as_it_was(both, alone):
    """Deleted while another is active, or while active itself, an adapter takes its tensors and nothing else."""
    both.set_adapter("second")
    both.delete_adapter("first")
    assert not any(name.endswith(".first") for name, _ in both.named_parameters())
    assert torch.equal(logits(both), alone[1])
    both.add_adapter("third", config())
    both.set_adapter("third")
    with pytest.warns(UserWarning, match="third was active"):
        both.delete_adapter("third")
    assert torch.equal(logits(both), alone[1])


def test_disabled_or_unloaded_two_adapters_give_the_backbone(both, alone):
    """disable_adapter gives the backbone's logits for its time, unload the backbone for good."""
    expected = logits(tiny("llama"))
    with both.disable_adapter():
        assert torch.equal(logits(both), expected)
    assert torch.equal(logits(both), alone[0])
    backbone = both.unload()
    assert not any(isinstance(module, BaseTunerLayer) for module in backbone.modules())
    assert torch.equal(logits(backbone), expected)


def test_disabled_in_training_the_loss_is_the_backbones(both):
    """Without an active adapter there is no balance loss to add."""
    both.train()
    with both.disable_adapter():
        loss = both(tokens(), labels=tokens()).loss
    assert torch.equal(loss, tiny("llama").train()(tokens(), labels=tokens()).loss)


def test_an_adapter_is_added_to_a_loaded_model(folders, alone):
    """A new adapter starts as the backbone and trains alone; the loaded one keeps its logits."""
    model = PeftModel.from_pretrained(tiny("llama"), folders[0], adapter_name="first")
    model.add_adapter("new", config(**SECOND))
    assert torch.equal(logits(model), alone[0])
    model.set_adapter("new")
    assert torch.equal(logits(model), logits(tiny("llama")))
    assert {n.rsplit(".", 1)[-1] for n, p in model.named_parameters() if p.requires_grad} == {"new"}


def test_an_inactive_adapter_gets_no_gradient(folders, both):
    """The loss and the balance loss are the active adapter's, and reach it alone."""
    both.set_adapter("second")
    both.train()
    both(tokens(), labels=tokens()).loss.backward()
    reached = {n.rsplit(".", 1)[-1] for n, p in both.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"second"}
    alone = PeftModel.from_pretrained(tiny("llama"), folders[1]).train()
    for model in (alone, both):
        torch.manual_seed(5)
        model(tokens())
    assert torch.equal(auxiliary_loss(both), auxiliary_loss(alone))


def test_loaded_to_be_trained_exactly_the_adapter_is_trainable(folders):
    """is_trainable gives the loaded tensors a gradient and no other."""
    model = PeftModel.from_pretrained(tiny("llama"), folders[0], is_trainable=True)
    trainable = {n.removesuffix(".default") for n, p in model.named_parameters() if p.requires_grad}
    assert trainable == set(load_file(folders[0] / FILE))


# What stands beside the adapter's own tensors


def resized(rows: int = VOCABULARY + 4):
    """The tiny Llama with tokens added to its vocabulary."""
    model = tiny("llama")
    torch.manual_seed(6)
    model.resize_token_embeddings(rows, mean_resizing=False)
    return model


@pytest.mark.parametrize("load", [adapter_file.load, PeftModel.from_pretrained], ids=lambda load: load.__qualname__)
@pytest.mark.parametrize("layers", [True, "auto"])
def test_resized_embeddings_are_saved_and_loaded_with_an_adapter(tmp_path, load, layers):
    """As with PEFT's own adapters, and the logits are the same bits: on a base that was resized, the saved rows win."""
    model = get_peft_model(resized(), config())
    perturb(model)
    model.save_pretrained(tmp_path, save_embedding_layers=layers)
    base = resized()
    base.get_input_embeddings().weight.data.zero_()
    if layers == "auto":  # nothing says that they have changed
        base = resized()
    assert torch.equal(logits(load(base, tmp_path)), logits(model))


@pytest.mark.parametrize("load", [adapter_file.load, PeftModel.from_pretrained], ids=lambda load: load.__qualname__)
def test_modules_to_save_are_trained_saved_and_loaded(tmp_path, load):
    """A head that is trained whole comes back with the adapter, and trains on after a resume."""
    model = get_peft_model(tiny("llama"), config(modules_to_save=["lm_head"]))
    perturb(model)
    assert any("lm_head" in name for name, p in model.named_parameters() if p.requires_grad)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(load(tiny("llama"), tmp_path)), logits(model))
    resumed = get_peft_model(tiny("llama"), config(modules_to_save=["lm_head"]))
    resumed.load_adapter(tmp_path, "default", is_trainable=True)
    assert torch.equal(logits(resumed), logits(model))
    assert {n for n, p in resumed.named_parameters() if p.requires_grad} == {
        n for n, p in model.named_parameters() if p.requires_grad
    }


class Extended(LlamaForCausalLM):
    """A model that its config alone does not make."""

    def __init__(self, config, note):
        super().__init__(config)
        self.note = note


@pytest.mark.parametrize("load", [adapter_file.load, PeftModel.from_pretrained], ids=lambda load: load.__qualname__)
def test_a_model_that_cannot_be_made_anew_loads_an_adapter(folders, alone, load):
    """What is expected of the file is read off the model itself."""
    plain = tiny("llama")
    model = Extended(plain.config, note="?").double()
    model.load_state_dict(plain.state_dict())
    assert torch.equal(logits(load(model, folders[0])), alone[0])


# Files that must not load

LOADERS = (adapter_file.load, PeftModel.from_pretrained)


def edited(folder: Path, change) -> Path:
    """The folder with its tensors changed."""
    tensors = load_file(folder / FILE)
    change(tensors, next(name for name in tensors if "router" in name))
    save_file(tensors, folder / FILE)
    return folder


def reconfigured(folder: Path, **changes) -> Path:
    """The folder with its config changed."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def cut(folder: Path, share: float) -> Path:
    """The folder with the first part of its file."""
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[: int(share * len(content))])
    return folder


def state(model: torch.nn.Module) -> tuple:
    """All that loading could change."""
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    return tensors, flags, [type(module) for module in model.modules()], set(vars(model))


def refused(load, model, folder: Path, message: str) -> None:
    """Loading is a ValueError with the message, and leaves the model as it was."""
    before = state(model)
    with pytest.raises(ValueError, match=message):
        load(model, folder)
    after = state(model)
    assert after[1:] == before[1:]
    assert list(after[0]) == list(before[0])
    assert all(torch.equal(after[0][name], tensor) for name, tensor in before[0].items())


DAMAGE = {
    "a missing tensor": (
        lambda folder: edited(folder, lambda tensors, name: tensors.pop(name)),
        r"1 missing \(base_model.*hycam_router \(3, 32\)\)",
    ),
    "a tensor too many": (
        lambda folder: edited(folder, lambda tensors, name: tensors.update(other=tensors[name].clone())),
        r"1 unexpected \(other \(3, 32\)\)",
    ),
    "a tensor of its own too many": (
        lambda folder: edited(folder, lambda tensors, name: tensors.update({name + "_bias": tensors[name].clone()})),
        r"1 unexpected \(base_model.*hycam_router_bias \(3, 32\)\)",
    ),
    "a wrong shape": (
        lambda folder: edited(folder, lambda tensors, name: tensors.update({name: tensors[name][:, 1:].clone()})),
        r"1 of another shape \(.*hycam_router, found \(3, 31\), expected \(3, 32\)\)",
    ),
    "whole numbers": (
        lambda folder: edited(folder, lambda tensors, name: tensors.update({name: tensors[name].long()})),
        r"hycam_router is of type I64; floating-point",
    ),
    "a file cut in its tensors": (lambda folder: cut(folder, 0.9), "cut off or damaged.*again"),
    "a file cut in its head": (lambda folder: cut(folder, 0.01), "cut off or damaged.*again"),
    "an empty file": (lambda folder: cut(folder, 0.0), "cut off or damaged.*again"),
    "another number of CAMs": (
        lambda folder: reconfigured(folder, num_specialized=5),
        r"found \(3, .*expected \(5, .*config that it was saved with",
    ),
    "another rank": (lambda folder: reconfigured(folder, r=8), r"found \(3, 4, 32\), expected \(3, 8, 32\)"),
    "another rank, by far": (lambda folder: reconfigured(folder, r=33), r"r=33.*width 32"),
}


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__qualname__)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_adapter_never_loads_in_part(tmp_path, load, damage):
    """What is missing, too many, misshapen or cut off is named, and the backbone is as before."""
    spoil, message = DAMAGE[damage]
    refused(load, tiny("llama"), spoil(saved(tmp_path)), message)


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__qualname__)
@pytest.mark.parametrize(
    ("layers", "message"), [(3, r"5 missing .*\.2\."), (1, r"5 unexpected \(base_model\.model\.model\.layers\.1\.")]
)
def test_another_depth_is_refused(tmp_path, load, layers, message):
    """An adapter of two blocks goes on no backbone of one or three; the message says what that one has."""
    refused(load, tiny("llama", layers=layers), saved(tmp_path), f"num_hidden_layers={layers}: {message}")


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__qualname__)
def test_another_width_is_refused(tmp_path, load):
    """The message names the width found and the width expected."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    wider = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes))
    message = rf"hidden_size=48.*hycam_\w+, found \([\d, ]*{WIDTH}[\d, ]*\), expected \([\d, ]*48[\d, ]*\)"
    refused(load, wider, saved(tmp_path), message)


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__qualname__)
def test_nothing_is_unpickled(tmp_path, load):
    """A folder with a pickle in place of safetensors is refused, and its code does not run."""
    folder = saved(tmp_path / "adapter")
    (folder / FILE).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Planted(tmp_path / "ran")))
    refused(load, tiny("llama"), folder, r"no adapter_model\.safetensors there; adapter_model\.bin is a pickle")
    assert not (tmp_path / "ran").exists()
    pickle.loads((folder / "adapter_model.bin").read_bytes())
    assert (tmp_path / "ran").exists(), "the trap works"


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__qualname__)
def test_a_folder_without_weights_is_refused(tmp_path, load):
    """The message names the folder and how an adapter is saved."""
    folder = saved(tmp_path)
    (folder / FILE).unlink()
    refused(load, tiny("llama"), folder, rf"{tmp_path}: no {FILE} there; save the adapter with save_pretrained")


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__qualname__)
def test_what_is_whole_loads(tmp_path, load):
    """A whole adapter gives its logits, and values are never judged: NaN loads as NaN."""
    folder = saved(tmp_path)
    assert torch.equal(logits(load(tiny("llama"), folder)), logits(PeftModel.from_pretrained(tiny("llama"), folder)))
    edited(folder, lambda tensors, name: tensors[name].fill_(float("nan")))
    assert logits(load(tiny("llama"), folder)).isnan().any()


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_second_adapter_leaves_the_first_as_it_was(folders, damage):
    """load_adapter adds a whole adapter or none: tensors, active adapter and configs are as before."""
    spoil, message = DAMAGE[damage]
    model = PeftModel.from_pretrained(tiny("llama"), folders[0], adapter_name="first")
    spoiled = spoil(saved(folders[1]))
    refused(lambda model, folder: model.load_adapter(folder, "second"), model, spoiled, message)
    assert list(model.peft_config) == ["first"]
    assert model.active_adapters == ["first"]


def test_an_adapter_is_reloaded_whole_or_not_at_all(folders, alone):
    """load_adapter under a name that is there takes that adapter's tensors and refuses any others."""
    model = PeftModel.from_pretrained(tiny("llama"), folders[0])
    message = r"adapter default: .*8 of another shape .*nothing was loaded"
    refused(lambda model, folder: model.load_adapter(folder, "default"), model, folders[1], message)
    for name, parameter in model.named_parameters():
        if name.endswith(".default"):
            parameter.data.zero_()
    assert torch.equal(logits(model), logits(tiny("llama")))
    model.load_adapter(folders[0], "default")
    assert torch.equal(logits(model), alone[0])


def test_a_folder_within_a_folder_is_checked_as_well(folders):
    """PEFT's subfolder leads to the same check."""
    edited(folders[1], lambda tensors, name: tensors.pop(name))
    load = lambda model, folder: PeftModel.from_pretrained(model, folder, subfolder="second")  # noqa: E731
    refused(load, tiny("llama"), folders[0].parent, "1 missing")


def test_a_saved_config_can_be_used_again(folders):
    """PeftConfig.from_pretrained gives settings, which a new adapter on another backbone may have."""
    settings = PeftConfig.from_pretrained(folders[1])
    assert torch.equal(logits(get_peft_model(tiny("llama", layers=3), settings)), logits(tiny("llama", layers=3)))


def test_a_lora_adapter_is_held_to_the_same(tmp_path):
    """The project's own loading refuses another method's incomplete file as well, and loads the whole one."""
    model = get_peft_model(tiny("llama"), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    perturb(model)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(adapter_file.load(tiny("llama"), tmp_path)), logits(model))
    tensors = load_file(tmp_path / FILE)
    del tensors[next(iter(tensors))]
    save_file(tensors, tmp_path / FILE)
    refused(adapter_file.load, tiny("llama"), tmp_path, "1 missing")
