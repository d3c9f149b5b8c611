"""How every figure is set: sizes, fonts, layout, axes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from hycam_exp.report.frame import FinishedRun

PNG_DPI = 200
COLUMN, PAGE = 3.4, 7.0  # widths in inches: one column of a two-column page, and both
DIVERGING, SEQUENTIAL = "PuOr_r", "cividis"

RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "legend.handlelength": 3.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "figure.dpi": 100,
    "pdf.fonttype": 42,  # TrueType: text stays text
    "svg.hashsalt": "hycam_exp",
    "text.parse_math": False,  # a dollar sign of a token is a dollar sign
}


@contextmanager
def applied() -> Iterator[None]:
    """Draw and write inside; what a user's matplotlibrc says does not count."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)  # type: ignore[arg-type]
        yield


def generated(runs: Sequence[FinishedRun]) -> str:
    """What must be said where tasks are named and are the generated ones; else nothing."""
    return "; all tasks are generated" if all(run.is_generated for run in runs) else ""


def fix_layout(figure: Figure) -> None:
    """Lay a figure out, once and for all its forms: what is added later moves nothing. A second time does nothing."""
    engine = figure.get_layout_engine()
    if engine is not None:
        FigureCanvasAgg(figure)  # measures texts
        engine.execute(figure)
        figure.set_layout_engine("none")


def plain_numbers(axis: Axis) -> None:
    """On a logarithmic axis: 0.5, 1, 2; not powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def counted_numbers(axis: Axis) -> None:
    """On a logarithmic axis: 200k, 1M."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(EngFormatter(sep=""))
    axis.set_minor_formatter(NullFormatter())


def dark(colour: str) -> tuple[float, float, float]:
    """A colour for words: dark enough to be read on white."""
    red, green, blue = to_rgb(colour)
    return 0.6 * red, 0.6 * green, 0.6 * blue
