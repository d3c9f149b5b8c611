"""Table 1: its published rows, the same as counted on disk, and the reader of all the published tables.

It stands here because the plan and `data_prep stats` need it, and neither may import the report. The paper's tables of
results are the report's own (`hycam_exp.report.published`), and are read line by line as this one is.

datasets()[0].total_tokens, read_measured(Path("results") / FILE).tasks["auto_cot"].total_tokens  # 943474 both
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

FILE = "datasets.json"
"""What `data_prep stats --out` writes, in results/."""
_AGAIN = "python -m data_prep stats --root DIR --tokenizer DIR --out FILE makes it again"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A published row of Table 1."""

    task: str
    samples: int
    total_tokens: int
    average: float
    """Tokens of a sample, rounded to `rounding` either way."""
    rounding: float
    domain: str
    place: str
    """file:line"""


@dataclass(frozen=True)
class PublishedRow:
    """A line of a published table, whose errors name it."""

    path: Path
    line: int
    values: Mapping[str, str | None]

    @property
    def place(self) -> str:
        return f"{self.path.name}:{self.line}"

    def error(self, problem: str) -> ValueError:
        return ValueError(f"{self.path}:{self.line}: {problem}")

    def text(self, column: str) -> str:
        value = self.values[column]
        if value is None:
            raise self.error(f"{column}: the line ends before it")
        return value

    def one_of(self, column: str, allowed: Sequence[str] | Mapping[str, str]) -> str:
        value = self.text(column)
        if value not in allowed:
            raise self.error(f"{column}={value}: must be one of {', '.join(name or 'nothing' for name in allowed)}")
        return value

    def number(self, column: str) -> float:
        text = self.text(column)
        try:
            value = float(text)
        except ValueError as error:
            raise self.error(f"{column}={text}: not a number") from error
        if not (math.isfinite(value) and value > 0):
            raise self.error(f"{column}={text}: must be a number above 0")
        return value

    def whole(self, column: str) -> int:
        value = self.number(column)
        if value != int(value):
            raise self.error(f"{column}={self.text(column)}: must be a whole number")
        return int(value)


def folder() -> Path:
    """The folder of tables: inside the package in an installed wheel, in results/ in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "published"
    return installed if installed.is_dir() else package.parent / "results" / "published"


def rows(tables: Path, name: str, columns: Sequence[str]) -> Iterator[PublishedRow]:
    """The lines of a table in a folder of tables that has these columns at least.

    Raises:
        ValueError: it cannot be read, lacks a column, or has no line or one that is too long; names file and line.
    """
    path = tables / f"{name}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            lacking = [column for column in columns if column not in (reader.fieldnames or ())]
            if lacking:
                raise ValueError(f"{path}:1: no column {', '.join(lacking)}")
            found = [PublishedRow(path, reader.line_num, values) for values in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{path}: cannot be read: {reason}") from error
    if not found:
        raise ValueError(f"{path}:1: no line below the names of the columns")
    for row in found:
        if None in row.values:
            raise row.error("more values than there are columns")
        yield row


def datasets(tables: Path | None = None) -> list[Dataset]:
    """Table 1, e.g. `datasets()[0].task` is auto_cot; without a folder of tables the committed one.

    Raises:
        ValueError: as `rows`, or a value is not what it should be.
    """
    columns = ("task", "samples", "total_tokens", "avg_tokens", "domain")
    return [_dataset(row) for row in rows(tables or folder(), "table1_datasets", columns)]


def _dataset(row: PublishedRow) -> Dataset:
    text = row.text("avg_tokens")
    return Dataset(
        task=row.text("task"),
        samples=row.whole("samples"),
        total_tokens=row.whole("total_tokens"),
        average=row.number("avg_tokens"),
        rounding=0.5 * 10.0 ** -len(text.partition(".")[2]),
        domain=row.text("domain"),
        place=row.place,
    )


_Count = Annotated[int, msgspec.Meta(gt=0)]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """One task's records on disk; tokens are BOS, prompt and output, without EOS."""

    samples: _Count
    total_tokens: _Count
    content: str
    """`records.content_hash` of them."""

    @property
    def average(self) -> float:
        """Tokens of a record."""
        return self.total_tokens / self.samples


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The tasks of a folder, as they were counted."""

    schema_version: Literal[1] = 1
    tokenizer: str
    """The name of its folder."""
    tokenizer_sha256: str
    """Of its tokenizer.json."""
    prompt: str
    """The template."""
    tasks: Mapping[str, Counted]


def written(measured: Measured) -> bytes:
    """The file: the same bytes for the same counts."""
    return (json.dumps(asdict(measured), indent=1) + "\n").encode()


def read_measured(path: Path) -> Measured | None:
    """What a file of counts holds; None where there is none.

    Raises:
        ValueError: it is not what `written` gives, or of a newer schema; names it.
    """
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Measured)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a whole file of counts ({error}); {_AGAIN}") from error
