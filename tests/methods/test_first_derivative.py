"""A second derivative through a backward pass that was written by hand is an error, never a number."""

import pytest
import torch

from hycam_exp.methods.gating import mix_experts
from hycam_exp.methods.modulation import modulate
from hycam_exp.methods.riemannian import precondition

D, R, NUM, T = 5, 3, 2, 4
SHAPES = {
    "modulate": ((T, D), (T, D), (T, NUM, R), (NUM, D, R), (T, NUM)),
    "mix_experts": ((T, NUM, R), (T, NUM), (D, NUM * R)),
    "precondition": ((NUM, R, D), (NUM, D, R)),
}
FUNCTIONS = {
    "modulate": modulate,
    "mix_experts": lambda codes, g, b: mix_experts(codes, g.abs(), b),
    "precondition": lambda a, b: sum(factor.sum() for factor in precondition(a, b, 0.1)),
}
pytestmark = pytest.mark.parametrize("name", FUNCTIONS)


def differentiated(name: str, create_graph: bool) -> tuple[list[torch.Tensor], tuple[torch.Tensor, ...]]:
    """The inputs, and their gradients of the outputs' sum, whose incoming gradient is constant."""
    torch.manual_seed(0)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in SHAPES[name]]
    return inputs, torch.autograd.grad(FUNCTIONS[name](*inputs).sum(), inputs, create_graph=create_graph)


def test_a_second_derivative_is_refused_where_the_incoming_gradient_is_constant(name):
    """However a gradient is differentiated again: by backward, by grad, alone or beside another term."""
    inputs, gradients = differentiated(name, create_graph=True)
    squares = sum(gradient.square().sum() for gradient in gradients)
    for second in (
        lambda: squares.backward(retain_graph=True),
        lambda: torch.autograd.grad(squares, inputs[0], retain_graph=True),
        lambda: torch.autograd.grad(squares, inputs, retain_graph=True, allow_unused=True),
        lambda: torch.autograd.grad(squares + inputs[-1].sum(), inputs[-1], retain_graph=True),
    ):
        with pytest.raises(ValueError, match="a second derivative"):
            second()


def test_torchs_own_check_of_second_derivatives_fails(name):
    """gradgradcheck, whose incoming gradients are variables, meets the same error."""
    inputs, _ = differentiated(name, create_graph=False)
    with pytest.raises(ValueError, match="a second derivative"):
        torch.autograd.gradgradcheck(FUNCTIONS[name], inputs)


def test_the_first_derivative_does_not_depend_on_the_graph_that_is_asked_for(name):
    """create_graph=True alone changes no bit."""
    for one, other in zip(differentiated(name, True)[1], differentiated(name, False)[1], strict=True):
        assert torch.equal(one, other)
