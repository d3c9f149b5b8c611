"""HyCAM on models with several towers, and on encoder-decoders: the text decoder's own attention, and nothing else."""

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    PixtralVisionConfig,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    SiglipVisionConfig,
)

from hycam_exp.methods import auxiliary_loss
from hycam_exp.methods.hycam import HyCAMConfig
from hycam_exp.methods.hycam_layer import HyCAMLayer
from tests.methods.conftest import perturb, tokens

TEXT = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
EYE = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8,
    "patch_size": 4,
}  # fmt: skip


def llava():
    vision, text = CLIPVisionConfig(**EYE), LlamaConfig(**TEXT)
    return LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=60))


def qwen2_vl():
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 4}
    rope = {"type": "default", "mrope_section": [1, 1, 2]}
    text = {**TEXT, "rope_scaling": rope}
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, image_token_id=60))


def gemma3():
    vision, text = SiglipVisionConfig(**EYE), Gemma3TextConfig(**TEXT)
    config = Gemma3Config(text_config=text, vision_config=vision, image_token_index=60, mm_tokens_per_image=4)
    return Gemma3ForConditionalGeneration(config)


def mistral3():
    vision = PixtralVisionConfig(**{**EYE, "hidden_size": 16, "head_dim": 8})
    config = Mistral3Config(vision_config=vision, text_config=MistralConfig(**TEXT), image_token_index=60)
    return Mistral3ForConditionalGeneration(config)


MODELS = {"llava": llava, "qwen2_vl": qwen2_vl, "gemma3": gemma3, "mistral3": mistral3}


def config() -> HyCAMConfig:
    return HyCAMConfig(task_type="CAUSAL_LM", r=4, num_specialized=2)


def layers(model) -> dict[str, HyCAMLayer]:
    return {name: module for name, module in model.named_modules() if isinstance(module, HyCAMLayer)}


@pytest.fixture(params=MODELS)
def make(request):
    """A tiny random model, the same at every call."""

    def made():
        torch.manual_seed(0)
        return MODELS[request.param]().eval()

    return made


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_text_tower_is_modulated_and_no_other(make, tmp_path):
    """The identity at first; then trained, saved and loaded as on a model of text alone."""
    plain = make()
    expected = plain(input_ids=tokens()).logits
    model = get_peft_model(make(), config())
    assert len(layers(model)) == 2
    assert all("language_model" in name and "vis" not in name for name in layers(model))
    assert torch.equal(model.eval()(input_ids=tokens()).logits, expected)
    perturb(model)
    model.train()(input_ids=tokens(), attention_mask=torch.ones_like(tokens()), labels=tokens()).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.requires_grad)
    assert auxiliary_loss(model) is not None
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(make(), tmp_path).eval()
    assert torch.equal(loaded(input_ids=tokens()).logits, model.eval()(input_ids=tokens()).logits)


def test_of_an_encoder_decoder_the_decoders_self_attention_is_modulated():
    """Neither the encoder nor the attention that reads it."""
    sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "vocab_size": 61}
    model = get_peft_model(BartForConditionalGeneration(BartConfig(**sizes, **heads)), config())
    assert [name.removeprefix("base_model.model.") for name in layers(model)] == [
        "model.decoder.layers.0.self_attn",
        "model.decoder.layers.1.self_attn",
    ]
