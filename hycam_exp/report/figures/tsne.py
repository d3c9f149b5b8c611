"""t-SNE of value vectors and attention outputs with and without CAM (the paper's scatter plots), by task.

The paper embeds the value matrix "after applying HyCAM". CAM stands behind the attention, so that a block's own values
show the CAMs of the blocks before it; its own shows in the attention output, which is in the figure as well. Both
states are embedded together, so that they can be compared; the silhouette is of the vectors themselves, not of the
picture.
"""

import random
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from hycam_exp.report.figures import style
from hycam_exp.report.figures.palette import TASKS, looks_of
from hycam_exp.report.figures.picture import Picture
from hycam_exp.report.figures.trained import Trained

POINTS = 100  # response tokens of each task
ROWS = 20  # records of each task that they come from
PERPLEXITY = 30.0
KINDS = {"value": "value vectors", "attention": "attention outputs"}
STATES = {"without": "without CAM", "with": "with CAM"}
COLUMNS = ("kind", "state", "task", "record", "position", "x", "y")

Point = tuple[str, str, int]  # task, record's id, position


def chosen(rows: Sequence[Any], tasks: Sequence[str], points: int = POINTS) -> list[Point]:
    """Response tokens of every task, drawn by a fixed seed from its first records by id."""
    found: list[Point] = []
    for task in tasks:
        records = sorted((row for row in rows if row.task == task), key=lambda row: row.id)[:ROWS]
        positions = [
            (task, row.id, position) for row in records for position in range(row.prompt_length, len(row.input_ids))
        ]
        found += sorted(random.Random(0).sample(positions, min(points, len(positions))))
    return found


def vectors(trained: Trained, points: Sequence[Point], block: int) -> dict[tuple[str, str], Any]:
    """By kind and state, the chosen tokens' vectors in a block: (points, width).

    Raises:
        ValueError: the backbone's attention has no projection of its own for values.
    """
    import numpy
    import torch

    layer = trained.layers[block]
    if not hasattr(layer.base_layer, "v_proj"):
        raise ValueError(f"{type(layer.base_layer).__name__} has no v_proj, whose output the value vectors are")
    kept: dict[str, Any] = {}
    handles = [
        layer.base_layer.v_proj.register_forward_hook(lambda _, inputs, output: kept.update(value=output)),
        layer.register_forward_hook(lambda _, inputs, output: kept.update(attention=output[0])),
    ]
    rows = {row.id: row for row in trained.rows}
    found: dict[tuple[str, str], list[Any]] = {(kind, state): [] for kind in KINDS for state in STATES}
    try:
        with torch.inference_mode():
            for id in dict.fromkeys(point[1] for point in points):
                positions = [point[2] for point in points if point[1] == id]
                for state in STATES:
                    _forward(trained.model, rows[id].input_ids, state)
                    for kind in KINDS:
                        found[kind, state].append(kept[kind][0, positions].double())
    finally:
        for handle in handles:
            handle.remove()
    return {key: numpy.concatenate([part.numpy() for part in parts]) for key, parts in found.items()}


def _forward(model: Any, ids: list[int], state: str) -> None:
    import torch

    torch.manual_seed(0)  # the released form routes with noise in evaluation, too
    batch = torch.tensor([ids])
    if state == "with":
        model(input_ids=batch, use_cache=False)
    else:
        with model.disable_adapter():
            model(input_ids=batch, use_cache=False)


def embedded(without: Any, with_cam: Any) -> tuple[Any, Any]:
    """Both states' vectors in one plane: (points, 2) each; the same for the same vectors."""
    import numpy
    from sklearn.manifold import TSNE

    both = numpy.concatenate([without, with_cam])
    perplexity = min(PERPLEXITY, (len(both) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(both)
    return plane[: len(without)], plane[len(without) :]


def draw(trained: Trained, block: int | None = None, points: int = POINTS) -> Picture:
    """The figure for one block, the last that is modulated unless another is asked for.

    Raises:
        ValueError: no such modulated block; or as `vectors`.
    """
    block = max(trained.layers) if block is None else block
    if block not in trained.layers:
        raise ValueError(f"blocks={block}: the modulated blocks are {', '.join(map(str, sorted(trained.layers)))}")
    tokens = chosen(trained.rows, trained.tasks, points)
    found = vectors(trained, tokens, block)
    planes: dict[tuple[str, str], Any] = {}
    for kind in KINDS:
        planes[kind, "without"], planes[kind, "with"] = embedded(found[kind, "without"], found[kind, "with"])
    rows = [
        (kind, state, *token, round(float(x), 4), round(float(y), 4))
        for (kind, state), plane in planes.items()
        for token, (x, y) in zip(tokens, plane, strict=True)
    ]
    figure = _figure(trained.tasks, tokens, found, planes)
    generated = "; all tasks are generated" if trained.is_generated else ""
    figure.suptitle(f"block {block}; {len(tokens)} response tokens of the test split{generated}", fontsize=8)
    return Picture(name="tsne", figure=figure, columns=COLUMNS, rows=rows)


def _figure(
    tasks: Sequence[str],
    tokens: Sequence[Point],
    found: dict[tuple[str, str], Any],
    planes: dict[tuple[str, str], Any],
) -> Figure:
    from sklearn.metrics import silhouette_score

    figure = Figure(figsize=(style.PAGE * 0.8, style.PAGE * 0.85), layout="constrained")
    grid = figure.subplots(len(KINDS), len(STATES), sharex="row", sharey="row")
    looks, names = looks_of(tasks, TASKS), [task for task, *_ in tokens]
    for row, kind in enumerate(KINDS):
        for column, state in enumerate(STATES):
            axes, plane = grid[row, column], planes[kind, state]
            for task in tasks:
                here = [index for index, name in enumerate(names) if name == task]
                axes.scatter(
                    plane[here, 0], plane[here, 1], s=9, marker=looks[task].marker, color=looks[task].colour,
                    alpha=0.75, linewidths=0, label=looks[task].name,
                )  # fmt: skip
            score = f"; silhouette {silhouette_score(found[kind, state], names):+.3f}" if len(set(names)) > 1 else ""
            axes.set_title(f"{KINDS[kind]} {STATES[state]}{score}", fontsize=7.5)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[["top", "right"]].set_visible(True)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(tasks), handlelength=1.5, markerscale=1.6)
    return figure
