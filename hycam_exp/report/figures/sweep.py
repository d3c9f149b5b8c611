"""Perplexity over one of HyCAM's settings: N_s (a figure of the paper) and tau (which the paper fixes)."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from hycam_exp.report.figures import style
from hycam_exp.report.figures.line import Line, basis, mean_and_spread, setting, swept, without
from hycam_exp.report.figures.plate import Plate
from hycam_exp.report.summary import Summary


@dataclass(frozen=True)
class Sweep:
    """A swept field."""

    field: str
    label: str
    log: bool


NUM_SPECIALIZED = Sweep("num_specialized", "number of specialized CAMs", log=False)
TAU = Sweep("tau", "temperature tau", log=True)


def drawn(summaries: Sequence[Summary], sweep: Sweep) -> dict[str, dict[float, Line]]:
    """For every setting that several values were tried of: a line for each value that has scores, in order."""
    alike: dict[tuple[str, str], dict[float, list[Summary]]] = {}
    for summary in summaries:
        value = setting(summary, sweep.field)
        if isinstance(value, int | float):
            key = summary.method, without(summary.variant, "seed", sweep.field)
            alike.setdefault(key, {}).setdefault(value, []).append(summary)
    found: dict[str, dict[float, Line]] = {}
    for (method, variant), by_value in sorted(alike.items()):
        lines = {value: swept(by_value[value]) for value in sorted(by_value)}
        scored = {value: line for value, line in lines.items() if line.values("ppl") is not None}
        if len(scored) > 1:
            found[", ".join(part for part in (method, variant) if part)] = scored
    return found


def draw(summaries: Sequence[Summary], sweep: Sweep) -> list[Plate]:
    """The figure; none where fewer than two values have scores."""
    found = drawn(summaries, sweep)
    if not found:
        return []
    figure = Figure(figsize=(style.COLUMN, 2.5), layout="constrained")
    axes = figure.subplots()
    looks = style.looks([next(iter(lines.values())).method for lines in found.values()], style.METHODS)
    rows: list[tuple[object, ...]] = []
    for index, (name, lines) in enumerate(found.items()):
        method = next(iter(lines.values())).method
        look = style.variant_look(looks[method], sum(other.startswith(method) for other in list(found)[:index]))
        means, spreads = zip(*(mean_and_spread(line.values("ppl") or []) for line in lines.values()), strict=True)
        for value, line in lines.items():
            axes.plot([value] * len(line.records), line.values("ppl") or [], ".", color=look.colour, alpha=0.35)
            rows += [
                (name, value, *(record.config[key] for key in ("fold", "seed")), record.score("ppl", "mean"))
                for record in line.records
            ]
        axes.errorbar(
            list(lines), means, spreads, color=look.colour, linestyle=look.line, marker=look.marker,
            markerfacecolor=look.face, capsize=2, label=name.replace(method, look.name, 1),
        )  # fmt: skip
    ticks = sorted({value for lines in found.values() for value in lines})
    if sweep.log:
        axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(sweep.label)
    over = basis([line for lines in found.values() for line in lines.values()])
    axes.set_ylabel(f"PPL (mean, s.d., {over})")
    if len(found) > 1:
        axes.legend()
    columns = ("setting", sweep.field, "fold", "seed", "ppl")
    return [Plate(name=sweep.field, figure=figure, columns=columns, rows=rows)]
