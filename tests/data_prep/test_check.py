"""The checks: exact counts on toy sets, and no found text in what is reported."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import check
from data_prep.near_copies import near_copies
from hycam_exp.data.records import Record, Rejection, identified
from hycam_exp.data.sources import Collection, read
from hycam_exp.data.splits import split


def record(instruction: str, output: str = "An answer.", input: str = "", group: str | None = None) -> Record:
    group = f"{instruction} {input}".strip().lower() if group is None else group
    return Record(task="dolly", instruction=instruction, input=input, output=output, group=group)


def found(*records: Record, reasons: tuple[str, ...] = ()) -> check.Findings:
    rejected = [Rejection(task="dolly", source="f", line=n, reason=reason) for n, reason in enumerate(reasons)]
    return check.findings("dolly", Collection(records=identified(records), rejections=rejected, sources=[]))


def test_duplicates_are_counted_beyond_the_first() -> None:
    """Three equal records are two duplicates; another case or spacing is a normalised one only."""
    same = [record("Why?"), record("Why?"), record("Why?"), record("WHY? "), record("Who?")]
    result = found(*same)
    assert (result.exact_duplicates, result.normalised_duplicates) == (2, 3)


def test_answers_that_are_empty_or_nearly() -> None:
    """Empty answers are among the rejected rows; fewer than two letters or digits are nearly empty."""
    reasons = ("empty output", "no response", "no answer_icliniq", "empty instruction", "score is None, not a number")
    result = found(record("a", "."), record("b", "7."), record("c", "No"), record("d", "- -"), reasons=reasons)
    assert (result.empty_answers, result.near_empty_answers, result.rejected) == (3, 3, 5)


def test_texts_are_looked_at_in_all_fields() -> None:
    """What is in instruction, input or output counts once a record."""
    result = found(
        record("a\0b"), record("b", "c\ufffd"), record("c", input="x@y.org, z@y.org"), record("d", "世界你好" * 9)
    )
    assert (result.control_characters, result.broken_encodings, result.personal["e-mail"]) == (1, 1, 1)
    assert result.languages == {"latin": 0.75, "cjk": 0.25}


def leak(records: list[Record], group: str) -> check.Leak:
    return check.leak(records, group, near_copies([f"{r.instruction} {r.input}" for r in records]))


def slow_leak(records: list[Record], group: str) -> tuple[int, int]:
    """Every test sample against every other record of its fold, over the five folds."""
    tested = leaks = 0
    for fold in range(5):
        parts = split(records, fold, group, 0)
        for sample in parts.test:
            tested += 1
            leaks += any(sample.group == other.group for other in [*parts.train, *parts.validation])
    return tested, leaks


@given(st.lists(st.integers(0, 8), min_size=10, max_size=40))
def test_leaks_are_those_of_a_slow_count(groups: list[int]) -> None:
    """Under plain folds the count equals comparing all pairs; under grouped folds there is none."""
    records = identified(record(f"q{n}", group=f"g{g}") for n, g in enumerate(groups))
    plain, grouped = leak(records, "none"), leak(records, "prompt")
    assert (plain.tested, plain.groups) == slow_leak(records, "none")
    assert (grouped.prompts, grouped.groups) == (0, 0)
    assert plain.prompts == 0


def test_leaking_prompt_is_a_leaking_group() -> None:
    """A prompt that differs in case, punctuation and spacing only leaks even if a set's own groups do not say so."""
    records = identified(record("Why?" if n % 2 else "WHY - ", f"A{n}", group=str(n)) for n in range(40))
    plain = leak(records, "none")
    assert plain.tested == plain.prompts == plain.groups == plain.near == 20
    assert leak(records, "prompt").prompts == 20


@pytest.mark.parametrize(
    ("records", "reasons", "names"),
    [
        ((record("a", "Fine."),), (), []),
        ((record("a", "Fine."),), ("no output",), ["rejected rows"]),
        ((record("a"), record("a")), (), ["exact duplicates", "normalised duplicates"]),
        ((record("a", "x@y.org"),), (), ["personal data"]),
        ((record("a", "."),), (), ["near-empty answers"]),
    ],
)
def test_strict_objects_to_what_is_found(records: tuple, reasons: tuple, names: list[str]) -> None:
    """Each finding by its name; a clean set has none."""
    assert [name for name, count in found(*records, reasons=reasons).found.items() if count] == names


def test_report_holds_no_personal_data() -> None:
    """What looks personal is counted, and printed in neither form."""
    result = [found(record("Mail me", "secret.name@example.org or 555-123-4567, 078-05-1120"))]
    for text in (check.printed(result), json.dumps(check.report(result))):
        assert not any(part in text for part in ("secret", "example.org", "4567", "1120"))
    assert result[0].personal == {"e-mail": 1, "phone": 1, "IPv4": 0, "card": 0, "SSN": 1}


def test_real_passages_leak_under_plain_folds_only(tmp_path: Path, shared: Path) -> None:
    """Dolly's shared passages are in test and training parts of plain folds; grouped folds keep them together."""
    (tmp_path / "dolly").symlink_to(shared / "data" / "dolly")
    records = read(["dolly"], str(tmp_path)).records[:6000]
    plain, grouped = leak(records, "none"), leak(records, "prompt")
    assert grouped.groups == 0
    assert 0 < plain.prompts < plain.groups < plain.tested == 3000


STORY = "Tom has {} pens and gives two of them to his friend Ann, who had three before; how many has Ann now, please?"


def test_near_copy_in_another_part_is_counted() -> None:
    """A prompt with one word of it changed at its end leaks nearly, though neither prompt nor group is the same."""
    records = identified(
        record(STORY.format(f"{n // 2} and {n // 2 * 3} and {n // 2 * 7}") + (" Thanks." if n % 2 else ""), f"A{n}")
        for n in range(60)
    )
    plain = leak(records, "prompt")
    expected = 0
    for fold in range(5):
        parts = split(records, fold, "prompt", 0)
        stories = {r.instruction.removesuffix(" Thanks.") for r in [*parts.train, *parts.validation]}
        expected += sum(r.instruction.removesuffix(" Thanks.") in stories for r in parts.test)
    assert (plain.prompts, plain.groups, plain.near) == (0, 0, expected)
    assert expected > 15


def test_real_problems_in_other_punctuation_are_kept_together(shared: Path) -> None:
    """Of Auto-CoT's problems that are alike but for punctuation none is left across parts; near-copies are counted."""
    records = read(["auto_cot"], str(shared / "data")).records
    plain, grouped = leak(records, "none"), leak(records, "prompt")
    assert (plain.tested, plain.prompts, plain.groups) == (2908, 95, 95)
    assert (grouped.prompts, grouped.groups, grouped.near) == (0, 0, 146)


def test_split_that_would_be_refused_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """One group for most records: what training would say is said by the check, which goes on."""
    result = found(*(record(f"q{n}", f"a{n}", group="one" if n < 45 else str(n)) for n in range(60)))
    assert result.uneven is not None
    assert result.found["folds that are refused"] == 1
    assert "11/4/45 of 60 records" in check.printed([result]).splitlines()[-1]
