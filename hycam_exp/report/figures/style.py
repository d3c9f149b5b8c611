"""The look of every figure, in one place: sizes, fonts, and a colour, marker and line for each method and task.

Colours are Okabe and Ito's, which the colour-blind tell apart; markers and lines say the same without colour.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import matplotlib
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from hycam_exp.report import titles
from hycam_exp.runs import RunRecord

PNG_DPI = 200
COLUMN, PAGE = 3.4, 7.0  # widths in inches: one column of a two-column page, and both
BLACK, GREY = "#000000", "#777777"
ORANGE, SKY, GREEN, BLUE = "#E69F00", "#56B4E9", "#009E73", "#0072B2"
VERMILION, PURPLE, OLIVE, WINE = "#D55E00", "#CC79A7", "#7A7A1F", "#882255"
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


@dataclass(frozen=True)
class Look:
    """What a method or a task is known by."""

    name: str
    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]] = "-"
    hollow: bool = False

    @property
    def face(self) -> str:
        """The fill of a marker."""
        return "white" if self.hollow else self.colour


METHODS = {
    "full_ft": Look(titles.method("full_ft"), BLACK, "s", "--"),
    "lora": Look(titles.method("lora"), BLUE, "^", "-."),
    "lora_matched": Look(titles.method("lora_matched"), PURPLE, "p", "-."),
    "multi_lora": Look(titles.method("multi_lora"), SKY, "D", ":"),
    "riemoe_lora": Look(titles.method("riemoe_lora"), GREEN, "v", (0, (5, 1, 1, 1, 1, 1))),
    "hycam": Look(titles.method("hycam"), VERMILION, "o", "-"),
    "hycam_shared_only": Look(titles.method("hycam_shared_only"), ORANGE, "P", "--"),
    "hycam_full_spec": Look(titles.method("hycam_full_spec"), PURPLE, "X", ":"),
    "hycam_spec_only": Look(titles.method("hycam_spec_only"), GREY, "<", "-."),
    "hycam_inverse_peft": Look(titles.method("hycam_inverse_peft"), OLIVE, ">", (0, (5, 1, 1, 1, 1, 1))),
    "hycam_released": Look(titles.method("hycam_released"), WINE, "*", "--"),
}
TASKS = {
    "auto_cot": Look(titles.TASKS["auto_cot"], BLUE, "o"),
    "icliniq": Look(titles.TASKS["icliniq"], ORANGE, "^"),
    "dolly": Look(titles.TASKS["dolly"], GREEN, "s"),
    "code_alpaca": Look(titles.TASKS["code_alpaca"], VERMILION, "D"),
    "web_gpt": Look(titles.TASKS["web_gpt"], PURPLE, "v"),
}
_SPARE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK, OLIVE, WINE, GREY)
_MARKERS = "o^sDvP<X>*"
_VARIANT_LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (1, 1)), (0, (4, 2)), (0, (6, 1, 2, 1)))


def looks(names: Sequence[str], known: dict[str, Look]) -> dict[str, Look]:
    """A look for every name; names that are not known get, in their order, what the others leave."""
    used = {known[name].marker for name in names if name in known}
    spare = [(colour, marker) for colour, marker in zip(_SPARE, _MARKERS, strict=True) if marker not in used]
    spare = spare or list(zip(_SPARE, _MARKERS, strict=True))
    unknown = sorted(set(names) - set(known))
    own = {name: Look(name, *spare[index % len(spare)]) for index, name in enumerate(unknown)}
    return {name: known.get(name) or own[name] for name in names}


def variant_look(look: Look, index: int) -> Look:
    """The look of a method's further settings: its colour, a hollow marker and another line."""
    if index == 0:
        return look
    return replace(look, hollow=True, line=_VARIANT_LINES[index % len(_VARIANT_LINES)])


@contextmanager
def applied() -> Iterator[None]:
    """Draw and write inside; what a user's matplotlibrc says does not count."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)  # type: ignore[arg-type]
        yield


def footnote(figure: Figure, text: str) -> None:
    """Small words below everything; none for an empty text."""
    if text:
        figure.supxlabel(text, fontsize=6.5)


def generated(records: Sequence[RunRecord]) -> str:
    """What must be said where tasks are named and are the generated ones; else nothing."""
    return "; all tasks are generated" if all(titles.is_generated(r.config["data"]) for r in records) else ""


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
