"""Errors as a person reads them."""

from hycam_exp.errors import MARK, marked


def test_every_line_is_marked() -> None:
    """No line of what is wrong passes for ordinary output, and the mark is all that is added."""
    assert marked(ValueError("fold=7: must be in 0..4")) == "error: fold=7: must be in 0..4"
    assert [line.removeprefix(MARK) for line in marked("a\nb").splitlines()] == ["a", "b"]
    assert marked("") == ""
