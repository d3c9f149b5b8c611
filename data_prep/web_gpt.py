"""WebGPT comparisons: a question with quoted sources and two scored answers. Standard library only."""

from collections.abc import Mapping
from typing import Any

from data_prep.conversion import Fields, checked, mapping_of, text_of


def _score(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"score is {value!r}, not a number")
    return value


def _quotes(quotes: Any) -> str:
    """The quotes as numbered paragraphs, `[1] title` and the extract below it."""
    quotes = mapping_of(quotes, "the quotes are")
    titles, extracts = quotes.get("title", []), quotes.get("extract", [])
    if not (isinstance(titles, list) and isinstance(extracts, list) and len(titles) == len(extracts)):
        raise ValueError("quotes need a title for every extract")
    pairs = [
        (checked(title, "a quote"), checked(extract, "a quote"))
        for title, extract in zip(titles, extracts, strict=True)
    ]
    return "\n\n".join(f"[{n}] {title}\n{extract}" for n, (title, extract) in enumerate(pairs, start=1))


def _raw(row: list[Any]) -> Fields:
    """Upstream's raw form: an array of two answers, each with its own question, quotes and score."""
    if len(row) != 2:
        raise ValueError(f"a comparison has two answers, this one {len(row)}")
    sides = [mapping_of(side) for side in row]
    scores = [_score(side.get("score")) for side in sides]
    preferred = sides[1] if scores[1] > scores[0] else sides[0]
    question = text_of(mapping_of(preferred.get("question"), "the question is"), "full_text")
    return Fields(
        instruction=question,
        input=_quotes(preferred.get("quotes", {})),
        output=text_of(preferred, "answer"),
        group_by=question,
    )


def _alpaca(row: Mapping[str, Any]) -> Fields:
    """Alpaca-CoT's form (instruction, input, output)."""
    question = text_of(row, "instruction")
    return Fields(
        instruction=question,
        input=text_of(row, "input", required=False),
        output=text_of(row, "output"),
        group_by=question,
    )


def fields(row: Any) -> Fields:
    """The preferred answer (the first where the scores are equal); its quotes are the input, its question the group."""
    if isinstance(row, list):
        return _raw(row)
    return _alpaca(mapping_of(row))
