"""Names beside points, put where they cover neither a point nor each other, and nearest to their own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

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


_PLACES = [_Place(distance, *direction) for distance in _DISTANCES for direction in _DIRECTIONS]

Boxes = NDArray[np.float64]
"""Left, low, right and high in pixels, [..., 4]."""


def place(axes: Axes, points: Sequence[Labelled]) -> None:
    """Write every name at its cheapest place; what else is in the figure must be there already."""
    figure = axes.figure
    assert isinstance(figure, Figure), "axes of a figure"
    style.fix_layout(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    inside = np.array(axes.get_window_extent(renderer).extents)
    centres = {point: axes.transData.transform((point.x, point.y)) for point in points}
    covered = np.concatenate([_covered(axes, point) for point in points] or [np.empty((0, 4))])
    names = np.empty((0, 4))
    for point in sorted(points, key=lambda point: (point.y, point.x, point.name)):
        text = axes.text(0, 0, point.name, fontsize=SIZE)
        size = text.get_window_extent(renderer).padded(3, 1)
        text.remove()
        boxes = _boxes(centres[point], size.width, size.height, figure.dpi / 72)
        others = np.array([centre for other, centre in centres.items() if other is not point]).reshape(-1, 2)
        near = _gap(boxes, others).min(1, initial=np.inf) < _gap(boxes, centres[point][None])[:, 0] + 2
        costs = (
            _ON_POINT * _shared(boxes, covered).sum(1)
            + _ON_NAME * _shared(boxes, names).sum(1)
            + _ELSEWHERE * (size.width * size.height - _shared(boxes, inside[None])[:, 0])
            + _STRANGER * near
            + _FAR * np.array([place.distance for place in _PLACES])
        )
        best = int(costs.round(6).argmin())  # of equal ones the first, not the one that rounding favours
        names = np.concatenate([names, boxes[best : best + 1]])
        _write(axes, point, _PLACES[best])


def _boxes(centre: NDArray[np.float64], width: float, height: float, pixels: float) -> Boxes:
    """A name's box at each of its places."""
    found = []
    for place in _PLACES:
        left = centre[0] + place.offset[0] * pixels + width * (place.across - 1) / 2
        low = centre[1] + place.offset[1] * pixels + height * (place.up - 1) / 2
        found.append((left, low, left + width, low + height))
    return np.array(found)


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


def _covered(axes: Axes, point: Labelled) -> Boxes:
    """The boxes of a marker and of its two bars."""
    x, y = axes.transData.transform((point.x, point.y))
    boxes = [(x - 4, y - 4, x + 4, y + 4)]
    for across, up in ((point.reach[0], 0.0), (0.0, point.reach[1])):
        ends = axes.transData.transform([(point.x - across, point.y - up), (point.x + across, point.y + up)])
        boxes.append((*(ends.min(0) - 1), *(ends.max(0) + 1)))
    return np.array(boxes)


def _shared(some: Boxes, others: Boxes) -> NDArray[np.float64]:
    """The area that each shares with each, in square pixels: [some, others]."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    return np.clip(high - low, 0, None).prod(-1)


def _gap(boxes: Boxes, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each point is from each box, in pixels: [boxes, points]."""
    outside = np.maximum(boxes[:, None, :2] - points[None], points[None] - boxes[:, None, 2:])
    return np.hypot(*np.moveaxis(np.clip(outside, 0, None), -1, 0))
