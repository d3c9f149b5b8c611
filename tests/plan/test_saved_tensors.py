"""Liveness on a toy tape, by hand."""

from hycam_exp.plan.saved_tensors import Kept, Op, Tape, Tensor, worst

X, Y = Tensor("x", 10), Tensor("y", 3, method=True)
TAPE = Tape([Op(name="a", saves=[X], working=1, trained=5), Op(name="b", saves=[X, Y], working=2, passing=7)])


def test_a_tensor_saved_twice_is_kept_once():
    """Equal names are the same memory; what the method keeps is told apart."""
    assert TAPE.saved() == Kept(backbone=10, method=3)
    assert TAPE.saved().total == 13


def test_the_backward_pass_frees_in_reverse():
    """b is first and frees y; x stays for a; a's gradient comes after it."""
    moments = list(TAPE.backward())
    assert [(m.name, m.kept.total, m.gradients, m.working) for m in moments] == [("b", 13, 0, 2), ("a", 10, 0, 1)]
    assert TAPE.trained == 5


def test_the_worst_moment_is_the_largest():
    """Forward it is b with what passes; of nothing it is nothing."""
    assert worst(TAPE.forward()).total == 20
    assert worst(Tape().backward()).total == 0


def test_gradients_left_behind_are_counted():
    """Operations further on have left theirs."""
    tape = Tape([Op(name="a"), Op(name="b", trained=4)])
    assert [m.gradients for m in tape.backward()] == [0, 4]
