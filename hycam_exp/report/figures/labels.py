"""Names beside points, put where they cover neither a point nor each other, and nearest to their own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from hycam_exp.report.figures import style

SIZE = 6.5  # points
_DISTANCES = (5, 9, 14, 20, 28, 38)  # points
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_ALIGN = {1: ("left", "bottom"), 0: ("center", "center"), -1: ("right", "top")}
_LED = 12  # a label farther than this has a line to its point
# Costs: of a square pixel on a point or bar, on a name, and outside of the axes; of being nearer to another point; and
# of a point of distance.
_ON_POINT, _ON_NAME, _ELSEWHERE, _STRANGER, _FAR = 3, 10, 20, 400, 4


@dataclass(frozen=True)
class Labelled:
    """A point, in the data's units, and its name; its bars go `reach` to both sides in x and y."""

    x: float
    y: float
    name: str
    colour: str
    reach: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class _Place:
    """Where a name may stand: so many points from its point, in one of eight directions."""

    distance: float
    across: int
    up: int

    @property
    def offset(self) -> tuple[float, float]:
        step = self.distance / math.hypot(self.across, self.up)
        return self.across * step, self.up * step

    def box(self, x: float, y: float, width: float, height: float, pixels: float) -> Bbox:
        """The name's box, in pixels."""
        left = x + self.offset[0] * pixels + width * (self.across - 1) / 2
        low = y + self.offset[1] * pixels + height * (self.up - 1) / 2
        return Bbox.from_bounds(left, low, width, height)


_PLACES = [_Place(distance, *direction) for distance in _DISTANCES for direction in _DIRECTIONS]


def place(axes: Axes, points: Sequence[Labelled]) -> None:
    """Write every name at its cheapest place; what else is in the figure must be there already."""
    figure = axes.figure
    assert isinstance(figure, Figure), "axes of a figure"
    style.fix_layout(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    pixels = figure.dpi / 72
    inside = axes.get_window_extent(renderer)
    centres = {point: _centre(axes, point) for point in points}
    covered = [box for point in points for box in _covered(axes, point)]
    names: list[Bbox] = []
    for point in sorted(points, key=lambda point: (point.y, point.x, point.name)):
        text = axes.text(0, 0, point.name, fontsize=SIZE)
        size = text.get_window_extent(renderer).padded(3, 1)
        text.remove()
        others = [centre for other, centre in centres.items() if other is not point]
        x, y = centres[point]
        boxes = {place: place.box(x, y, size.width, size.height, pixels) for place in _PLACES}
        costs = {
            place: _ON_POINT * sum(_shared(box, other) for other in covered)
            + _ON_NAME * sum(_shared(box, other) for other in names)
            + _ELSEWHERE * (box.width * box.height - _shared(box, inside))
            + _STRANGER * any(_gap(box, other) < _gap(box, centres[point]) + 2 for other in others)
            + _FAR * place.distance
            for place, box in boxes.items()
        }
        best = min(costs, key=costs.__getitem__)
        names.append(boxes[best])
        _write(axes, point, best)


def _write(axes: Axes, point: Labelled, place: _Place) -> None:
    colour = style.dark(point.colour)
    axes.annotate(
        point.name, (point.x, point.y), place.offset, textcoords="offset points", fontsize=SIZE, color=colour,
        ha=_ALIGN[place.across][0], va=_ALIGN[place.up][1], in_layout=False, zorder=1.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
        if place.distance > _LED
        else None,
    )  # fmt: skip


def _centre(axes: Axes, point: Labelled) -> tuple[float, float]:
    x, y = axes.transData.transform((point.x, point.y))
    return x, y


def _covered(axes: Axes, point: Labelled) -> list[Bbox]:
    """The boxes of a marker and of its two bars, in pixels."""
    x, y = _centre(axes, point)
    boxes = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4)]
    for across, up in ((point.reach[0], 0.0), (0.0, point.reach[1])):
        ends = axes.transData.transform([(point.x - across, point.y - up), (point.x + across, point.y + up)])
        boxes.append(Bbox(ends).padded(1))
    return boxes


def _shared(one: Bbox, other: Bbox) -> float:
    """The area of both, in square pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(width, 0.0) * max(height, 0.0)


def _gap(box: Bbox, point: tuple[float, float]) -> float:
    """How far a point is from a box, in pixels."""
    across = max(box.x0 - point[0], 0, point[0] - box.x1)
    up = max(box.y0 - point[1], 0, point[1] - box.y1)
    return math.hypot(across, up)
