"""Figures as the page embeds them: the picture as a data URI, and its numbers as a table beside it."""

import base64
import csv
import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hycam_exp.report.page.captions import caption

MOST_ROWS = 40
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class FigureView:
    """A picture with its data."""

    id: str
    title: str
    caption: str
    """What it shows, in a sentence; empty where nothing is known of it."""
    about: str
    """The backbone and data mix, or the run, that it is of: the folder it lies in."""
    source: str
    width: int
    height: int
    columns: list[str]
    rows: list[list[str]]
    num_rows: int


def figures(paths: Sequence[Path]) -> Iterator[FigureView]:
    """The PNG files among the paths, in their order."""
    for number, path in enumerate((p for p in paths if p.suffix == ".png"), start=1):
        picture = path.read_bytes()
        if not picture.startswith(_SIGNATURE):
            raise ValueError(f"{path}: not a PNG file")
        width, height = struct.unpack(">II", picture[16:24])
        head, rows, num_rows = _data(path.with_suffix(".csv"))
        title, sentence = caption(path.stem)
        yield FigureView(
            id=f"figure-{number}",
            title=title,
            caption=sentence,
            about=path.parent.name,
            source=f"data:image/png;base64,{base64.b64encode(picture).decode()}",
            width=width,
            height=height,
            columns=head,
            rows=rows,
            num_rows=num_rows,
        )


def _data(path: Path) -> tuple[list[str], list[list[str]], int]:
    """A figure's CSV: its header, its first rows and how many there are; nothing where there is no file."""
    if not path.is_file():
        return [], [], 0
    with path.open(encoding="utf-8", newline="") as stream:
        lines = csv.reader(stream)
        head, rows = next(lines, []), list(itertools.islice(lines, MOST_ROWS))
        return head, rows, len(rows) + sum(1 for _ in lines)
