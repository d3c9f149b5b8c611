"""Names beside points."""

import math
from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hycam_exp.report.figures import labels, style
from hycam_exp.report.figures.palette import BLUE


def test_names_cover_neither_each_other_nor_a_point():
    """In a cluster of eight points all names are free, inside the axes, and each is nearest to its own point."""
    points = [labels.Labelled(i % 4, i // 4 + i % 4 / 8, f"method {i}", BLUE) for i in range(8)]
    with style.applied():
        figure = Figure(figsize=(3.4, 2.4), layout="constrained")
        axes = figure.subplots()
        axes.plot([p.x for p in points], [p.y for p in points], "o")
        axes.margins(0.3)
        labels.place(axes, points)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw_without_rendering()
        boxes = {text.get_text(): text.get_window_extent(renderer) for text in axes.texts}
        inside = axes.get_window_extent(renderer)
        centres = {p.name: axes.transData.transform((p.x, p.y)) for p in points}
    assert set(boxes) == set(centres)
    assert not any(one.overlaps(other) for one, other in combinations(boxes.values(), 2))
    for name, box in boxes.items():
        assert not any(box.contains(*centre) for centre in centres.values())
        assert box.x0 >= inside.x0
        assert box.x1 <= inside.x1
        gaps = {other: math.dist(centre, np.clip(centre, box.min, box.max)) for other, centre in centres.items()}
        assert min(gaps, key=gaps.__getitem__) == name
