"""Full fine-tuning: nothing is attached, every weight is trained."""

from torch import nn

from hycam_exp.config.methods import FullFTSettings


def attach(model: nn.Module, settings: FullFTSettings) -> nn.Module:
    """The model as it is, all of it trainable."""
    return model.requires_grad_(True)
