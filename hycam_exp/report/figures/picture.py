"""A drawn figure with the data in it, written as PDF, PNG and CSV: the same bytes for the same data."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from hycam_exp.report.figures import style
from hycam_exp.runtime.files import write_atomically

# Without these, a file would hold the time and the versions that it was made by.
_PDF: dict[str, Any] = {"CreationDate": None, "Creator": None, "Producer": None}
_PNG: dict[str, Any] = {"Software": None}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure and its data."""

    name: str
    """Of the files, without a suffix."""
    figure: Figure
    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]

    def write(self, folder: Path) -> list[Path]:
        """The three files' paths."""
        style.fix_layout(self.figure)
        contents = {"pdf": self._pdf(), "png": self._png(), "csv": self.csv().encode()}
        paths = [folder / f"{self.name}.{suffix}" for suffix in contents]
        for path, content in zip(paths, contents.values(), strict=True):
            write_atomically(path, content)
        return paths

    # By the canvases and not by `savefig`, which goes through a figure once more for its layout.
    def _pdf(self) -> bytes:
        stream = io.BytesIO()
        FigureCanvasPdf(self.figure).print_pdf(stream, metadata=_PDF)
        return stream.getvalue()

    def _png(self) -> bytes:
        stream = io.BytesIO()
        self.figure.set_dpi(style.PNG_DPI)
        FigureCanvasAgg(self.figure).print_png(stream, metadata=_PNG)
        return stream.getvalue()

    def csv(self) -> str:
        """The rows, sorted; a number is written so that reading it gives the same number, absent is empty."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_written(value) for value in row] for row in sorted(self.rows, key=_order))
        return stream.getvalue()


def _written(value: object) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _order(row: Sequence[object]) -> list[tuple[bool, float, str]]:
    """Numbers by size and before words."""
    return [
        (False, float(value), "") if isinstance(value, int | float) else (True, 0.0, _written(value)) for value in row
    ]
