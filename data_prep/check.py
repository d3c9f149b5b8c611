"""What may be wrong with a data set: duplicates, leaks between splits, empty answers, broken text, personal data.

A leak is a test sample whose prompt, or whose group (passage or question), is in the training or validation part of
the same fold too, or nearly so. It is counted over the five folds under plain splits (`data.group=none`) and grouped
ones.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data_prep import tasks, texts
from data_prep.near_copies import NearCopies, near_copies
from data_prep.printed import percent, table
from hycam_exp.data import sources
from hycam_exp.data.records import Record, normalise
from hycam_exp.data.splits import FOLDS, require_shares, split

GROUPINGS = {"plain": "none", "grouped": "prompt"}
ANSWER_FIELDS = ("output", "response", "answer", *tasks.ANSWERS)
NEAR_EMPTY = 2
"""An answer with fewer letters and digits is near-empty."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Test samples of the five folds, and how many of them the other parts of their fold give away."""

    tested: int
    prompts: int
    """Same instruction and input, but for case, punctuation, white space and compatibility forms."""
    groups: int
    """Same prompt, or same passage or question."""
    near: int
    """Same prompt, or one whose 5-grams of words have a Jaccard similarity of at least 0.8."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """One task as checked; everything is a number of records, but for `languages`."""

    task: str
    records: int
    rejected: int
    empty_answers: int
    """Rejected for an empty or missing answer."""
    near_empty_answers: int
    exact_duplicates: int
    """Records that repeat another's instruction, input and output."""
    normalised_duplicates: int
    """The same, but for case, punctuation, white space and compatibility forms."""
    leaks: dict[str, Leak]
    """By grouping: plain and grouped."""
    control_characters: int
    broken_encodings: int
    personal: dict[str, int]
    """By kind; what was found is not kept."""
    languages: dict[str, float]
    """Share of the records by the script that most of their letters belong to."""
    uneven: str | None
    """Why grouped folds are refused: groups too large to be cut 7:2:1."""

    @property
    def found(self) -> dict[str, int]:
        """What `--strict` objects to. Plain leaks are not among it: folds are grouped unless one asks otherwise."""
        return {
            "rejected rows": self.rejected,
            "near-empty answers": self.near_empty_answers,
            "exact duplicates": self.exact_duplicates,
            "normalised duplicates": self.normalised_duplicates,
            "leaks under grouped folds": self.leaks["grouped"].groups,
            "near-copies under grouped folds": self.leaks["grouped"].near,
            "folds that are refused": int(self.uneven is not None),
            "control characters": self.control_characters,
            "broken encodings": self.broken_encodings,
            "personal data": sum(self.personal.values()),
        }


def findings(task: str, collection: sources.Collection) -> Findings:
    """What there is to say about one task's records."""
    records = collection.records
    whole = [f"{r.instruction}\n{r.input}\n{r.output}" for r in records]
    scripts = Counter(map(texts.script, whole))
    copies = near_copies([_prompt(r) for r in records])
    return Findings(
        task=task,
        records=len(records),
        rejected=len(collection.rejections),
        empty_answers=sum(_is_empty_answer(r.reason) for r in collection.rejections),
        near_empty_answers=sum(sum(map(str.isalnum, r.output[:1000])) < NEAR_EMPTY for r in records),
        exact_duplicates=_repeated((r.instruction, r.input, r.output) for r in records),
        normalised_duplicates=_repeated(
            (normalise(r.instruction), normalise(r.input), normalise(r.output)) for r in records
        ),
        leaks={name: leak(records, group, copies) for name, group in GROUPINGS.items()},
        control_characters=sum(map(texts.has_control, whole)),
        broken_encodings=sum(map(texts.is_broken, whole)),
        personal={kind: sum(1 for text in whole if found(text)) for kind, found in texts.PERSONAL.items()},
        languages={name: count / len(records) for name, count in scripts.most_common()},
        uneven=_uneven(records),
    )


def _prompt(record: Record) -> str:
    return f"{record.instruction} {record.input}"


def _uneven(records: Sequence[Record]) -> str | None:
    try:
        require_shares(records, GROUPINGS["grouped"], split_seed=0)
    except ValueError as error:
        return str(error)
    return None


def _is_empty_answer(reason: str) -> bool:
    first, _, field = reason.partition(" ")
    return first in ("no", "empty") and field in ANSWER_FIELDS


def _repeated(keys: Iterable[object]) -> int:
    return sum(count - 1 for count in Counter(keys).values())


def leak(records: Sequence[Record], group: str, copies: NearCopies) -> Leak:
    """How many test samples of the five folds share a prompt or a group with the rest of their fold.

    `copies` are the near-copies among the prompts of the records, in their order.
    """
    tested = prompts = groups = near = 0
    prompt = {r.id: normalise(_prompt(r)) for r in records}
    kind = {r.id: number for r, number in zip(records, copies.classes, strict=True)}
    for fold in range(FOLDS):
        parts = split(records, fold, group, split_seed=0)
        others = [*parts.train, *parts.validation]
        known, known_groups = {prompt[r.id] for r in others}, {r.group for r in others}
        known_kinds = {kind[r.id] for r in others}
        tested += len(parts.test)
        for record in parts.test:
            same = prompt[record.id] in known
            prompts += same
            groups += same or record.group in known_groups
            near += same or not copies.near[kind[record.id]].isdisjoint(known_kinds)
    return Leak(tested=tested, prompts=prompts, groups=groups, near=near)


def report(found: Sequence[Findings]) -> dict[str, Any]:
    """The findings, for programs."""
    return {"rows": [asdict(row) | {"found": row.found} for row in found]}


def printed(found: Sequence[Findings]) -> str:
    """The findings in three tables, for people."""
    leaks = [
        [row.task, row.leaks["plain"].tested]
        + [_share(row.leaks[name], what) for name in GROUPINGS for what in ("prompts", "groups", "near")]
        for row in found
    ]
    rows = [
        [
            row.task, row.records, row.rejected, row.exact_duplicates, row.normalised_duplicates, row.empty_answers,
            row.near_empty_answers, row.control_characters, row.broken_encodings,
        ]
        for row in found
    ]  # fmt: skip
    more = [
        [row.task, *row.personal.values(), ", ".join(f"{k} {percent(v)}" for k, v in list(row.languages.items())[:3])]
        for row in found
    ]
    return "\n\n".join(
        [
            table(
                ["task", "records", "rejected", "exact dup.", "normalised dup.", "empty answers", "near-empty",
                 "control chars", "broken encoding"],
                rows,
            ),
            table(["task", "tested", "plain: prompt", "or group", "near-copy", "grouped: prompt", "or group",
                   "near-copy"], leaks),
            table(["task", *texts.PERSONAL, "scripts"], more),
            *(row.uneven for row in found if row.uneven is not None),
        ]
    )  # fmt: skip


def _share(leak: Leak, what: str) -> str:
    count = getattr(leak, what)
    return f"{count:,} ({percent(count / leak.tested if leak.tested else None)})"
