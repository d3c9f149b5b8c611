"""What HyCAM is compared with: the paper's baselines, and which methods are a PEFT baseline at all."""

from hycam_exp.method_settings import METHODS
from hycam_exp.report import published
from hycam_exp.report.claims.scoreboard import OURS


def is_peft(method: str) -> bool:
    """Whether it leaves the backbone's weights alone; a record's method that is gone from `METHODS` is taken to."""
    return method not in METHODS or not METHODS[method].trains_backbone


def is_peft_baseline(method: str) -> bool:
    """Whether the star of a table is against it: a parameter-efficient method that is no form of HyCAM."""
    return is_peft(method) and not method.startswith(OURS)


BASELINES = tuple(method for method in published.METHODS.values() if method != OURS)
"""Of the paper's tables: full fine-tuning, LoRA, Multi-LoRA, RieMoE-LoRA."""
PEFT_BASELINES = tuple(method for method in BASELINES if is_peft_baseline(method))
