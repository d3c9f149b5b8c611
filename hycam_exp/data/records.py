"""The canonical record between data sets and tokenizers: one instruction, optional input, one output.

Standard library only. A record's id and group come from its content, never from its place in a file, so that the
same data in another order gives the same folds and the same run.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One sample of a task; `group` names what must stay in one split (its prompt, passage or question)."""

    task: str
    instruction: str
    input: str
    output: str
    group: str
    id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A row that gave no record, with the place and the reason."""

    task: str
    source: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that was read: its name, size in bytes and hash."""

    task: str
    name: str
    size: int
    sha256: str


class _Kept(dict[int, str | None]):
    """For `str.translate`: None for white space, punctuation, quotes and controls, any other character itself."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        kind = unicodedata.category(character)
        dropped = character.isspace() or kind[0] in "PZC" or kind == "Sk"  # Sk: the backquote, and accents alone
        self[code] = None if dropped else character
        return self[code]


_KEPT = _Kept()


def normalise(text: str) -> str:
    """What counts as the same text: Unicode NFKC, case folded, without punctuation and white space.

    Symbols that mean something (+, =, <, $) stay. A text of nothing but punctuation stays itself, but for its spacing.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return folded.translate(_KEPT) or " ".join(folded.split())


def digest(*parts: str) -> str:
    """SHA-256 over the parts, each with its length, so that ("ab", "c") differs from ("a", "bc")."""
    sha = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        sha.update(len(encoded).to_bytes(8, "little") + encoded)
    return sha.hexdigest()


def identified(records: Iterable[Record]) -> list[Record]:
    """The records in order of content, each with an id made of it; exact duplicates get -2, -3, ..."""
    keyed = sorted(((digest(r.task, r.instruction, r.input, r.output)[:16], r) for r in records), key=lambda k: k[0])
    seen: Counter[str] = Counter()
    named = []
    for key, record in keyed:
        seen[key] += 1
        named.append(replace(record, id=key if seen[key] == 1 else f"{key}-{seen[key]}"))
    return named


def content_hash(records: Iterable[Record]) -> str:
    """One hash of everything a run reads of its records: ids (content) and groups."""
    return digest(*(f"{r.task} {r.id} {r.group}" for r in sorted(records, key=lambda r: (r.task, r.id))))
