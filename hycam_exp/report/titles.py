"""What backbones, methods and tasks are called, by the paper's names where it has one, and how numbers are written."""

import re
from collections.abc import Collection, Sequence

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


def weights(origin: str) -> str:
    """What stands behind a backbone's title where its weights are not those of its name: they were dequantised."""
    bits = re.match(r"GGUF \D*(\d)", origin)
    return f" ({bits[1]}-bit weights, dequantised)" if bits else ""


def method(name: str) -> str:
    """A method's title."""
    return METHODS.get(name, name)


def task(name: str) -> str:
    """A task's title; a generated task has one of its own, so that it never passes for a data set."""
    return (TASKS | MINI_TASKS).get(name, name)


def label(name: str) -> str:
    """The title of a row's label: `riemoe_lora (recipe.clip=null)` with the method's title."""
    of_method, *variant = name.split(" (", 1)
    return " (".join([method(of_method), *variant])


_NOTHING = re.compile(r"-(?=[0.,]*%?$)")  # the sign of what rounds to nought


def number(value: float | None, form: str = ".3f") -> str:
    """A number in a form, a dash for None; never -0.000."""
    if value is None:
        return "-"
    text = format(value, form)
    return _NOTHING.sub("+" if "+" in form else "", text)


def p_value(p: float | None) -> str:
    """A probability in four digits, and below that as such: never 0.0000."""
    return "-" if p is None else "<0.0001" if p < 0.0001 else format(p, ".4f")


def interval(bounds: tuple[float, float] | None, form: str = ".3f") -> str:
    """-0.012 to +0.034; a dash for None."""
    return "-" if bounds is None else f"{number(bounds[0], form)} to {number(bounds[1], form)}"


def folds_text(folds: Sequence[int]) -> str:
    """fold 3; folds 0, 1."""
    return f"fold{'s' * (len(set(folds)) > 1)} {', '.join(map(str, sorted(set(folds))))}"


def span(numbers: Collection[int]) -> str:
    """What numbers range over: 5 where all are, 3 to 5."""
    few, many = min(numbers), max(numbers)
    return str(few) if few == many else f"{few} to {many}"
