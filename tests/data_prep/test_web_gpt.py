"""WebGPT comparisons: the preferred answer with its own quotes, grouped by the question."""

from typing import Any

import pytest

from data_prep.conversion import Fields, convert
from data_prep.web_gpt import answer_fields, answers_of, fields
from hycam_exp.data.records import Record

QUOTES = {"title": ["Sky (a.org)", "Light"], "extract": ["It is blue.", "It\nscatters."]}


def side(answer: str, score: Any, /, **changes: Any) -> dict[str, Any]:
    """One answer of a comparison in the upstream form; `...` leaves a field out."""
    whole = {
        "question": {"dataset": "eli5", "id": "q1", "full_text": "Why is the sky blue?"},
        "quotes": QUOTES,
        "answer": answer,
        "tokens": {"prefix": [1], "completion": [2]},
        "score": score,
    }
    return {key: value for key, value in {**whole, **changes}.items() if value is not ...}


def test_preferred_answer_has_its_own_quotes() -> None:
    """Question, numbered quotes and answer are those of the side with the higher score."""
    other = side("Because.", 0.5, quotes={"title": ["Other"], "extract": ["Else."]})
    assert fields([side("It scatters.", -0.5), other]) == Fields(
        instruction="Why is the sky blue?",
        input="[1] Other\nElse.",
        output="Because.",
        group_by="Why is the sky blue?",
    )
    assert fields([side("It scatters.", 1), other]) == Fields(
        instruction="Why is the sky blue?",
        input="[1] Sky (a.org)\nIt is blue.\n\n[2] Light\nIt\nscatters.",
        output="It scatters.",
        group_by="Why is the sky blue?",
    )


@pytest.mark.parametrize(
    ("scores", "preferred"),
    [((0.0, 0.0), 0), ((1, 0), 0), ((0, 1), 1), ((-1.0, -0.5), 1), ((0, 0.0), 0), ((10**400, 0), 0), ((0, 10**400), 1)],
)
def test_higher_score_is_preferred(scores: tuple[float, float], preferred: int) -> None:
    """The second answer is taken only where its score is higher; equal scores take the first."""
    row = [side("first", scores[0]), side("second", scores[1])]
    assert fields(row).output == ("first", "second")[preferred]


@pytest.mark.parametrize("quotes", [{}, {"title": [], "extract": []}, ...])
def test_quotes_may_be_missing(quotes: Any) -> None:
    """An answer without quotes has an empty input."""
    assert fields([side("a", 1, quotes=quotes), side("b", 0)]).input == ""


def test_comparisons_of_one_question_share_a_group() -> None:
    """Whatever was quoted and answered, the question alone is the group."""
    rows = [[side("a", 1), side("b", 0)], [side("c", 0), side("d", 1, quotes={})]]
    records = convert("web_gpt", enumerate(rows), "file", fields)
    assert [r.group for r in records if isinstance(r, Record)] == ["whyistheskyblue"] * 2


def test_alpaca_form_is_grouped_by_the_question() -> None:
    """Alpaca-CoT's row (instruction, input, output) is taken as it is, with the instruction as the group."""
    row = {"instruction": "Why?", "input": "[1] T\nE", "output": "So."}
    assert fields(row) == Fields(instruction="Why?", input="[1] T\nE", output="So.", group_by="Why?")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"score": None}, "score is None, not a number"),
        ({"score": "1"}, "score is '1', not a number"),
        ({"score": True}, "score is True, not a number"),
        ({"score": float("nan")}, "score is nan, not a number"),
        ({"score": ...}, "score is None, not a number"),
        ({"answer": " "}, "empty answer"),
        ({"answer": ...}, "no answer"),
        ({"question": ...}, "the question is NoneType, not an object"),
        ({"question": "Why?"}, "the question is str, not an object"),
        ({"question": {}}, "no full_text"),
        ({"quotes": None}, "the quotes are NoneType, not an object"),
        ({"quotes": {"title": ["T"], "extract": []}}, "quotes need a title for every extract"),
        ({"quotes": {"title": ["T"]}}, "quotes need a title for every extract"),
        ({"quotes": {"title": "T", "extract": "E"}}, "quotes need a title for every extract"),
        ({"quotes": {"title": ["T"], "extract": [None]}}, "a quote is NoneType, not text"),
        ({"quotes": {"title": ["T\ud800"], "extract": ["E"]}}, "a quote holds a lone surrogate"),
    ],
)
def test_broken_preferred_side_is_refused(change: dict[str, Any], reason: str) -> None:
    """What is wrong with the preferred answer is said: the other one never stands in for it."""
    with pytest.raises(ValueError, match=f"^{reason}$"):
        fields([side("first", 1, **change), side("second", 0)])


@pytest.mark.parametrize("score", [None, float("nan"), "high"])
def test_comparison_needs_both_scores(score: Any) -> None:
    """Without the other side's score nothing is preferred."""
    with pytest.raises(ValueError, match=r"^score is .*, not a number$"):
        fields([side("first", 1), side("second", score)])


@pytest.mark.parametrize("row", [[], [side("only", 1)], [side(str(i), i) for i in range(3)]])
def test_comparison_has_two_answers(row: list) -> None:
    """Fewer or more than two answers are refused with their number."""
    with pytest.raises(ValueError, match=f"a comparison has two answers, this one {len(row)}"):
        fields(row)


def flattened(question: Any, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The same comparison in the hub's flattened form."""
    sides = enumerate((first, second))
    return {"question": question} | {
        f"{k}_{n}": s[k] for n, s in sides for k in ("quotes", "tokens", "answer", "score")
    }


@pytest.mark.parametrize("question", [{"full_text": "Why is the sky blue?"}, "Why is the sky blue?"])
@pytest.mark.parametrize("scores", [(1, 0), (0, 1), (0, 0)])
def test_flattened_form_gives_the_same(question: Any, scores: tuple[int, int]) -> None:
    """A flattened comparison is the record of the raw one, its question an object or text."""
    pair = [side("first", scores[0]), side("second", scores[1], quotes={"title": ["T"], "extract": ["E"]})]
    assert fields(flattened(question, *pair)) == fields(pair)


@pytest.mark.parametrize("missing", ["answer_0", "answer_1", "score_0", "score_1", "quotes_0", "question"])
def test_flattened_form_with_a_field_missing(missing: str) -> None:
    """Without an answer, a score or the question there is no record; without quotes the input is empty."""
    row = flattened("Why?", side("first", 1), side("second", 0))
    del row[missing]
    if missing in ("answer_1", "quotes_0"):
        assert fields(row).input == ("" if missing == "quotes_0" else fields([side("a", 1), side("b", 0)]).input)
    else:
        with pytest.raises(ValueError, match=r"no answer|score is None|the question is NoneType"):
            fields(row)


def test_both_answers_are_rows_of_their_own() -> None:
    """With both, a comparison in any form is two rows on its line; everything else stays one row."""
    pair, alpaca = [side("a", 1), side("b", 0)], {"instruction": "Why?", "output": "So."}
    flat = flattened("Why?", *pair)
    rows = list(answers_of([(1, pair), (2, alpaca), (3, flat), (4, [side("a", 1)]), (5, None)], "file"))
    assert [line for line, _ in rows] == [1, 1, 2, 3, 3, 4, 5]
    assert [answer_fields(row).output for _, row in rows[:5]] == ["a", "b", "So.", "a", "b"]
    assert {answer_fields(row).group_by for _, row in rows[:2]} == {"Why is the sky blue?"}


@pytest.mark.parametrize("row", [None, 7, [], [side("a", 1)], {"question": None, "answer": "a"}, {"instruction": "a"}])
def test_broken_row_of_both_is_refused(row: Any) -> None:
    """A row that is no answer says so, as it does among preferred ones."""
    with pytest.raises(ValueError):
        answer_fields(row)


def test_both_needs_no_score() -> None:
    """Where nothing is preferred, a missing score is no reason to lose an answer."""
    assert answer_fields(side("a", None)).output == "a"


def test_reason_stays_short() -> None:
    """A megabyte where a score should be does not end up in the reason."""
    with pytest.raises(ValueError, match=r"^score is '.{10,60}', not a number$"):
        fields([side("first", "x" * 10**6), side("second", 0)])
