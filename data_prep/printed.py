"""Tables for people: aligned columns, numbers to the right, "-" where nothing was measured."""

from collections.abc import Sequence


def cell(value: object) -> str:
    """A value as text: thousands separated, two decimals, "-" for None."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def percent(share: float | None) -> str:
    """A share in percent with one decimal."""
    return "-" if share is None else f"{100 * share:.1f}%"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The rows below the head; a column of numbers is aligned to the right."""
    texts = [[cell(value) for value in row] for row in rows]
    widths = [max(len(text[i]) for text in [list(head), *texts]) for i in range(len(head))]
    left = [all(_is_word(row[i]) for row in rows) for i in range(len(head))]
    lines = [list(head), ["-" * width for width in widths], *texts]
    return "\n".join(_line(line, widths, left) for line in lines)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and not value[:1].isdigit()


def _line(texts: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> str:
    aligned = (
        text.ljust(width) if is_left else text.rjust(width)
        for text, width, is_left in zip(texts, widths, left, strict=True)
    )
    return "  ".join(aligned).rstrip()
