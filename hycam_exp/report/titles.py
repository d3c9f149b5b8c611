"""What backbones, methods and tasks are called in a table: the paper's names where it has one."""

from collections.abc import Mapping
from typing import Any

from hycam_exp.config import methods

MODELS = {
    "llama2_7b": "Llama 2 7B", "llama3_8b": "Llama 3 8B", "llama3_1_8b": "Llama 3.1 8B", "mistral_7b": "Mistral 7B",
    "qwen2_5_0_5b": "Qwen 2.5 0.5B", "qwen2_5_1_5b": "Qwen 2.5 1.5B", "qwen2_5_3b": "Qwen 2.5 3B",
    "qwen2_5_7b": "Qwen 2.5 7B", "qwen2_5_14b": "Qwen 2.5 14B",
    "llama3_2_1b": "Llama 3.2 1B", "llama3_2_3b": "Llama 3.2 3B",
    "smollm2_135m": "SmolLM2 135M Instruct",
}  # fmt: skip
METHODS = {name: method.title for name, method in methods.METHODS.items()}
TASKS = {
    "auto_cot": "Auto CoT", "icliniq": "iCliniq", "dolly": "Dolly 2.0", "code_alpaca": "CodeAlpaca",
    "web_gpt": "WebGPT",
}  # fmt: skip
MINI_TASKS = {
    "mini_reasoning": "Mini reasoning", "mini_medical": "Mini medical", "mini_passage": "Mini passage",
    "mini_code": "Mini code", "mini_sources": "Mini sources",
}  # fmt: skip


def model(name: str) -> str:
    """A backbone's title."""
    return MODELS.get(name, name)


def method(name: str) -> str:
    """A method's title."""
    return METHODS.get(name, name)


def task(name: str) -> str:
    """A task's title; a generated task has one of its own, so that it never passes for a data set."""
    return (TASKS | MINI_TASKS).get(name, name)


def is_generated(data: Mapping[str, Any]) -> bool:
    """A config's data are the generated tasks: they lie nowhere."""
    return data.get("root") is None
