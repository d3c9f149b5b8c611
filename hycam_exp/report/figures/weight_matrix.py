"""The modulation of one text, tokens x features (the paper's weight matrix): 1 + A, what h_att is scaled by.

h_out = h_att + h_att * A = h_att * (1 + A): above 1 a feature of a token is amplified, below 1 attenuated.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from hycam_exp.report.figures import style
from hycam_exp.report.figures.palette import BLACK
from hycam_exp.report.figures.picture import Picture
from hycam_exp.report.figures.trained import Trained

TOKENS, FEATURES = 40, 128  # at most so many are shown
SHARE = 0.99  # of the values lie below the last colour


def sample(rows: Sequence[Any], task: str | None) -> Any:
    """The shortest test record of a task, or of all.

    Raises:
        ValueError: there is no such task.
    """
    found = [row for row in rows if task in (None, row.task)]
    if not found:
        raise ValueError(f"task={task}: the run's tasks are {', '.join(sorted({row.task for row in rows}))}")
    return min(found, key=lambda row: (len(row.input_ids), row.id))


def modulations(trained: Trained, row: Any) -> dict[int, Any]:
    """1 + A of every modulated block on a record's prompt and response: (L, d)."""
    import torch

    inputs: dict[int, Any] = {}

    def keep(block: int) -> Any:
        def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            inputs[block] = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]

        return hook

    handles = [
        layer.register_forward_pre_hook(keep(block), with_kwargs=True) for block, layer in trained.layers.items()
    ]
    with torch.inference_mode():
        torch.manual_seed(0)  # the released form routes with noise in evaluation, too
        try:
            trained.model(input_ids=torch.tensor([row.input_ids]), use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return {
            block: 1 + layer.modulation(trained.adapter, inputs[block])[0].double()
            for block, layer in trained.layers.items()
        }


def chosen_blocks(blocks: Sequence[int]) -> list[int]:
    """The first, the middle and the last."""
    ordered = sorted(blocks)
    return sorted({ordered[0], ordered[len(ordered) // 2], ordered[-1]})


def draw(trained: Trained, task: str | None = None, blocks: Sequence[int] | None = None) -> Picture:
    """The figure of the last tokens of a record of the run's test split.

    Raises:
        ValueError: there is no such task, or no such modulated block.
    """
    row = sample(trained.rows, task)
    chosen = list(blocks) if blocks else chosen_blocks(list(trained.layers))
    unknown = sorted(set(chosen) - set(trained.layers))
    if unknown:
        raise ValueError(f"blocks={unknown[0]}: the modulated blocks are {', '.join(map(str, sorted(trained.layers)))}")
    found = modulations(trained, row)
    start = max(0, len(row.input_ids) - TOKENS)
    tokens = [shown(trained.tokenizer, id) for id in row.input_ids[start:]]
    features = {block: _features(found[block]) for block in chosen}
    matrices = {block: found[block][start:, features[block]] for block in chosen}
    data = [
        (block, start + position, token, feature, round(value, 4))
        for block in chosen
        for position, (token, values) in enumerate(zip(tokens, matrices[block].tolist(), strict=True))
        for feature, value in zip(features[block], values, strict=True)
    ]
    figure = _figure(trained, row, start, tokens, matrices)
    return Picture(
        name="weight_matrix", figure=figure, columns=("block", "position", "token", "feature", "factor"), rows=data
    )


def _features(matrix: Any) -> list[int]:
    """All features, or of a wide model those that vary most over the tokens, in their order."""
    order = sorted(range(matrix.shape[1]), key=matrix.std(0).tolist().__getitem__, reverse=True)
    return sorted(order[:FEATURES])


def _figure(trained: Trained, row: Any, start: int, tokens: list[str], matrices: dict[int, Any]) -> Figure:
    import torch

    width = next(iter(trained.layers.values())).width
    values = torch.cat([matrix.flatten() for matrix in matrices.values()])
    low, high = min(values.min().item(), 0.999), max(values.quantile(SHARE).item(), 1.001)
    figure = Figure(figsize=(style.PAGE, 0.9 + 0.11 * len(tokens)), layout="constrained")
    panels = figure.subplots(1, len(matrices), sharey=True, squeeze=False)[0]
    for axes, (block, matrix) in zip(panels, matrices.items(), strict=True):
        norm = TwoSlopeNorm(1, low, high)
        image = axes.imshow(matrix.tolist(), cmap=style.DIVERGING, norm=norm, aspect="auto", interpolation="nearest")
        axes.set_title(f"block {block}")
        axes.grid(visible=False)
        axes.axhline(row.prompt_length - start - 0.5, color=BLACK, linewidth=0.8)
    panels[0].set_yticks(range(len(tokens)), tokens, fontsize=5.5, family="DejaVu Sans Mono")
    panels[0].set_ylabel("token (line: the response begins)")
    shown_features = next(iter(matrices.values())).shape[1]
    some = "feature" if shown_features == width else f"the {shown_features} of {width} features that vary most"
    panels[len(panels) // 2].set_xlabel(some)
    ticks = [low, (low + 1) / 2, *(1 + (high - 1) * step / 3 for step in range(4))]
    bar = figure.colorbar(image, ax=list(panels), ticks=ticks, extend="max", pad=0.01, format="%.2f")
    bar.set_label("factor of the attention output, 1 + A (two scales: below 1, above 1)")
    return figure


def shown(tokenizer: Any, id: int) -> str:
    """A token as a reader can see it: spaces as dots, what the font may lack by its number."""
    text = tokenizer.convert_ids_to_tokens(id)
    decoded = tokenizer.decode([id])
    if text.startswith(("\u0120", "\u2581")) and not decoded.startswith(" "):
        decoded = f" {decoded}"
    plain = (decoded or text).replace(" ", "\u00b7").replace("\n", "\\n").replace("\t", "\\t")
    return "".join(letter if ord(letter) < 0x250 else f"\\u{ord(letter):04x}" for letter in plain)
