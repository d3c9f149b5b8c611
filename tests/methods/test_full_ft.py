"""Full fine-tuning attaches nothing."""

from hycam_exp.config.methods import FullFTSettings
from hycam_exp.methods import attach, auxiliary_loss
from tests.methods.conftest import tiny


def test_the_model_is_the_backbone_and_all_of_it_is_trained(family):
    """The same object comes back with every parameter trainable."""
    model = tiny(family).requires_grad_(False)
    assert attach(model, FullFTSettings(name="full_ft")) is model
    assert all(p.requires_grad for p in model.parameters())
    assert auxiliary_loss(model) is None
