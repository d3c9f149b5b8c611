"""WebGPT comparisons: a question with quoted sources and two scored answers. Standard library only.

Upstream's raw form is an array of two answers, its flattened form has question, quotes_0, answer_0, score_0, ...
"""

import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from data_prep.conversion import Fields, Task, checked, mapping_of, text_of


def _score(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"score is {reprlib.repr(value)}, not a number")
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


def _preferred(sides: list[Any]) -> Fields:
    """Of two answers, each with its own question, quotes and score, the one with the higher score."""
    if len(sides) != 2:
        raise ValueError(f"a comparison has two answers, this one {len(sides)}")
    sides = [mapping_of(side) for side in sides]
    scores = [_score(side.get("score")) for side in sides]
    return _side(sides[1] if scores[1] > scores[0] else sides[0])


def _side(side: Mapping[str, Any]) -> Fields:
    """One answer with its question and quotes."""
    question = text_of(mapping_of(side.get("question"), "the question is"), "full_text")
    return Fields(
        instruction=question,
        input=_quotes(side.get("quotes", {})),
        output=text_of(side, "answer"),
        group_by=question,
    )


def _sides(row: Any) -> Any:
    """The answers of a comparison in either of upstream's forms; any other row as it is."""
    if not (isinstance(row, Mapping) and ("answer_0" in row or "answer_1" in row)):
        return row
    question = {"full_text": row["question"]} if isinstance(row.get("question"), str) else row.get("question")
    keys = ("quotes", "answer", "score")
    return [{"question": question} | {key: row[f"{key}_{n}"] for key in keys if f"{key}_{n}" in row} for n in (0, 1)]


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
    sides = _sides(row)
    return _preferred(sides) if isinstance(sides, list) else _alpaca(mapping_of(sides))


def answers_of(rows: Iterable[tuple[int, Any]], source: str) -> Iterator[tuple[int, Any]]:
    """Each answer of a comparison as a row of its own, on the comparison's line."""
    for line, row in rows:
        sides = _sides(row)
        if isinstance(sides, list) and len(sides) == 2:
            yield from ((line, side) for side in sides)
        else:
            yield line, row


def answer_fields(row: Any) -> Fields:
    """A row of `answers_of`: an answer with its question and quotes; the scores decide nothing."""
    if isinstance(row, list):
        return _preferred(row)
    row = mapping_of(row)
    return _side(row) if "question" in row else _alpaca(row)


TASK = Task(
    domain="retrieval QA",
    source="Nakano et al., 2021",
    hub_id="openai/webgpt_comparisons",
    folders=("webgpt", "webgptcomparisons"),
    fields=fields,
)
