"""What HyCAM is compared with."""

from hycam_exp.config.methods import METHODS
from hycam_exp.report.baselines import BASELINES, PEFT_BASELINES, is_peft, is_peft_baseline


def test_the_papers_baselines() -> None:
    """Four, of which full fine-tuning is no PEFT."""
    assert BASELINES == ("full_ft", "lora", "multi_lora", "riemoe_lora")
    assert PEFT_BASELINES == ("lora", "multi_lora", "riemoe_lora")


def test_a_form_of_hycam_is_peft_and_no_baseline() -> None:
    """A baseline beyond the paper's is one, too: LoRA of HyCAM's size, the field's methods, one that is gone."""
    assert {name for name in METHODS if not is_peft(name)} == {"full_ft"}
    assert {name for name in METHODS if is_peft_baseline(name)} == {
        *PEFT_BASELINES, "lora_matched", "hydralora", "comol", "mtl_lora", "moelora", "loramoe", "mola",
        "mixlora", "mtlora",
    }  # fmt: skip
    assert is_peft_baseline("gone")
