"""PEFT's own battery for the methods that live here: run by `test_battery` beside PEFT's tests, not from here.

`PeftCommonTester` is that of PEFT's source distribution; a case is one of its checks, a family and a method.
"""

import inspect

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from hycam_exp import HyCAMConfig, MultiLoRAConfig, RieMoELoRAConfig
from tests.testing_common import PeftCommonTester  # PEFT's

SIZES = {
    "vocab_size": 1024, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "head_dim": 8, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0, "ffn_dim": 48, "word_embed_proj_dim": 32, "tie_word_embeddings": False,
}  # fmt: skip
FAMILIES = ("llama", "mistral", "qwen2", "gemma2", "gpt_neox", "opt", "gpt2", "phi3")
LOW_RANK = {"task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj", "v_proj"]}
METHODS = {
    "hycam": (HyCAMConfig, {"task_type": "CAUSAL_LM", "r": 4, "num_specialized": 2}),
    "multi_lora": (MultiLoRAConfig, {**LOW_RANK, "lora_alpha": 8, "num_modules": 2}),
    "riemoe_lora": (RieMoELoRAConfig, {**LOW_RANK, "lora_alpha": 8, "num_experts": 3}),
}
LINEARS = {"gpt_neox": ["query_key_value"], "phi3": ["qkv_proj"]}
GIVEN = {
    "add_adapter_no_autocast_adapter_dtype": [{"dtype": torch.bfloat16}, {"dtype": torch.float16}],
    "save_pretrained": [{}, {"safe_serialization": False}],
    "save_pretrained_selected_adapters": [{}, {"safe_serialization": False}],
    "generate_pos_args": [{"raises_err": False}],
    "training_gradient_checkpointing": [{"use_reentrant": True}, {"use_reentrant": False}],
}
OFF_THE_IDENTITY = ("save", "merge", "mixed", "unload", "weighted", "disable", "conversion")
CHECKS = sorted(name.removeprefix("_test_") for name in vars(PeftCommonTester) if name.startswith("_test_"))


def cases():
    """Every check of PEFT's tester with its arguments; those for one of PEFT's own methods are that method's."""
    for check in CHECKS:
        parameters = inspect.signature(getattr(PeftCommonTester, f"_test_{check}")).parameters
        if list(parameters)[1:4] == ["model_id", "config_cls", "config_kwargs"]:
            for number, given in enumerate(GIVEN.get(check, [{}])):
                yield pytest.param(check, given, id=f"{check}-{number}")


@pytest.fixture(scope="session", params=FAMILIES)
def folder(request, tmp_path_factory):
    """A tiny random model of a family, saved."""
    torch.manual_seed(0)
    known = vars(AutoConfig.for_model(request.param))
    aliases = getattr(AutoConfig.for_model(request.param), "attribute_map", {})
    sizes = {name: size for name, size in SIZES.items() if name in known or name in aliases}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(request.param, **sizes))
    path = tmp_path_factory.mktemp("models") / request.param
    model.save_pretrained(path)
    return path


class TestOurs(PeftCommonTester):
    """PEFT's tester over our methods."""

    transformers_class = AutoModelForCausalLM

    def prepare_inputs_for_testing(self):
        ids = torch.tensor([[1, 1, 1], [1, 2, 1]]).to(self.torch_device)
        return {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1], [1, 0, 1]]).to(self.torch_device)}

    @pytest.mark.parametrize(("check", "given"), cases())
    @pytest.mark.parametrize("method", METHODS)
    def test_check(self, folder, method, check, given):
        config, fields = METHODS[method]
        if folder.name in LINEARS and "target_modules" in fields:
            fields = {**fields, "target_modules": LINEARS[folder.name]}
        if folder.name == "gpt2" and method != "hycam":
            pytest.skip("GPT-2's projections are no torch.nn.Linear")
        if any(word in check for word in OFF_THE_IDENTITY):  # as PEFT's own suites start these
            fields = {**fields, "init_weights": False}
        getattr(self, f"_test_{check}")(str(folder), config, dict(fields), **given)
