"""Names beside points."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hycam_exp.report.figures import labels, style


def test_names_cover_neither_each_other_nor_a_point():
    """In a cluster of eight points all names are free, inside the axes, and each is nearest to its own point."""
    points = [labels.Labelled(i % 4, i // 4 + i % 4 / 8, f"method {i}", style.BLUE) for i in range(8)]
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
        assert min(centres, key=lambda other: labels._gap(box, tuple(centres[other]))) == name
