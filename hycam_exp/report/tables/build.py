"""The tables of scores: which row of runs stands in which line, its cells, its stars.

build(selection, Experiments(cache)).tables[1].name  # table2_main
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hycam_exp.config.settings import NUM_FOLDS
from hycam_exp.data.table1 import Measured
from hycam_exp.report import published, settings, titles
from hycam_exp.report.experiments import Expected, Experiments, command
from hycam_exp.report.frame import Problem
from hycam_exp.report.published import Published
from hycam_exp.report.select import OURS, SelectedRow, Selection, elsewhere, is_peft, mean_of, spread_of
from hycam_exp.report.tables import table
from hycam_exp.report.tables.datasets import datasets
from hycam_exp.report.tables.designs import DESIGNS, Design, Measure
from hycam_exp.report.tables.table import BEST, Table, TableCell
from hycam_exp.report.titles import folds_text

if TYPE_CHECKING:
    from hycam_exp.report.statistics.bootstrap import Bootstrap
    from hycam_exp.report.statistics.significance import Comparison

PublishedCells = Mapping[tuple[str, str, str], TableCell]
"""Of the paper's files, by method, group's key and metric."""


@dataclass(frozen=True)
class Report:
    """The tables, and what was refused."""

    tables: list[Table]
    problems: list[Problem]


@dataclass(frozen=True, kw_only=True)
class TableLine:
    """A line of a table on one backbone: what an experiment asks for, or a variant of it, and its runs."""

    expected: Expected
    row: SelectedRow | None = None
    """None where no run fits."""
    variant: str = ""
    """How it differs from what the experiment asks for; empty for just that."""
    refused: str | None = None
    """Runs that could be taken for a part of the row, and are none."""
    note: str | None = None
    """What else a reader must know."""

    @property
    def place(self) -> str:
        """Its name for a list of problems."""
        variant = f" ({self.variant})" if self.variant else ""
        return " x ".join(self.expected.names) + variant

    @property
    def told(self) -> str | None:
        """What a reader must know of it."""
        mixed = self.row.mixed if self.row else None
        texts = (f"refused: {self.refused}" if self.refused else self.note, f"mixed: {mixed}" if mixed else None)
        return "; ".join(filter(None, texts)) or None


Lines = dict[str, dict[str, TableLine]]
"""By label, then by backbone."""


def build(
    selection: Selection,
    experiments: Experiments,
    allow_mixed: bool = False,
    bootstrap: "Bootstrap | None" = None,
    measured: Measured | None = None,
) -> Report:
    """Every table, in the paper's order, then ours; with `bootstrap` HyCAM's cells have intervals over test samples,
    too, and with `measured` Table 1 has tokens.
    """
    experiments.prepare((design.experiment for design in DESIGNS), {run.names for run in selection.frame.runs})
    papers = published.read()
    tables, problems = [datasets(selection.frame.runs, papers.datasets, measured)], set()
    for design in DESIGNS:
        lines = _lines(design, experiments, selection, allow_mixed)
        tables.append(_table(design, lines, papers, bootstrap))
        problems |= {
            Problem(line.place, f"refused: {line.refused}")
            for of_label in lines.values()
            for line in of_label.values()
            if line.refused
        }
    return Report(tables, sorted(problems))


def _lines(design: Design, experiments: Experiments, selection: Selection, allow_mixed: bool) -> Lines:
    lines: Lines = {}
    for expected in experiments.rows(design.experiment):
        label = _label(design, expected)
        found = [_line(expected, experiments, selection, allow_mixed)]
        if design.has_variants:
            found += _variants(expected, experiments, selection)
        for line in found:
            shown = f"{label} ({line.variant})" if line.variant else label
            lines.setdefault(shown, {})[expected.names[0]] = line
    return lines


def _label(design: Design, expected: Expected) -> str:
    if design.label == "method":
        return titles.method(expected.names[1])
    switches = dict(line.split("=", 1) for line in expected.overrides)["released"].strip("[]")
    return f"+ {switches.split(',')[-1]}" if switches else "HyCAM (paper)"


def _line(expected: Expected, experiments: Experiments, selection: Selection, allow_mixed: bool) -> TableLine:
    """The line of just what an experiment asks for; with `allow_mixed` other runs fill its missing folds."""
    if not any(run.names == expected.names for run in selection.frame.runs):
        return TableLine(expected=expected)
    variant, group = experiments.variant(expected), selection.group(expected)
    row = group.row(expected.names[1], variant) if group else None
    row = row if row is not None and _is_tested(row) else None
    if allow_mixed:
        return TableLine(expected=expected, row=selection.filled(row, expected, variant), note=_own_note(row))
    lacking = [fold for fold in range(NUM_FOLDS) if row is None or fold not in row.folds]
    others = [r for r in selection.alike(expected, variant) if r is not row and _is_tested(r)]
    texts = [
        f"{folds_text(folds)} with {elsewhere(r.runs[0], expected)}"
        for r in others
        if (folds := [fold for fold in r.folds if fold in lacking])
    ]
    mixing = "; ".join(texts)
    in_part = row is not None and any(set(r.folds) & set(lacking) and _same_data(r, expected) for r in others)
    notes = (f"not mixed in: {mixing}" if mixing else None, selection.told_of(expected.names), _own_note(row))
    note = "; ".join(filter(None, notes)) or None
    return TableLine(expected=expected, row=row, refused=mixing if in_part else None, note=note)


def _is_tested(row: SelectedRow) -> bool:
    return any(value is not None for value in row.values("ppl"))


def _same_data(row: SelectedRow, expected: Expected) -> bool:
    own = settings.values(row.runs[0].record.config)
    return not any(key.startswith("data.") for key in settings.differing(own, expected.values))


def _own_note(row: SelectedRow | None) -> str | None:
    """What was run more often than it counts, and unequal numbers of seeds."""
    if row is None:
        return None
    chosen = {(run.fold, run.seed) for run in row.runs}
    doubled = [run for run in row.further if (run.fold, run.seed) in chosen]
    texts = {run.aside: folds_text([r.fold for r in doubled if r.aside == run.aside]) for run in doubled}
    again = "; ".join(f"{folds} with {aside}" for aside, folds in texts.items())
    seeds = f"seeds of its folds: {', '.join(map(str, row.seeds))}" if len(set(row.seeds)) > 1 else None
    return "; ".join(filter(None, (f"also run, and not in the row: {again}" if again else None, seeds))) or None


def _variants(expected: Expected, experiments: Experiments, selection: Selection) -> Iterator[TableLine]:
    """Rows of the same group and method that differ from what the experiment asks for in their recipe alone."""
    group = selection.group(expected)
    asked = experiments.variant(expected) if group else {}
    for row in group.rows if group else ():
        keys = settings.apart(row.variant, asked)
        if row.method == expected.names[1] and keys and all(key.startswith("recipe.") for key in keys):
            own = settings.values(row.runs[0].record.config)
            if _is_tested(row):
                text = settings.shown({key: own.get(key) for key in keys})
                yield TableLine(expected=expected, row=row, variant=text, note=_own_note(row))


def _table(design: Design, lines: Lines, papers: Published, bootstrap: "Bootstrap | None") -> Table:
    keys = _groups(design, lines)
    places = [(key, measure) for key in keys for measure in design.measures]
    theirs = _published(design, papers)
    cells = {
        (label, key, measure.name): _cell(design, measure, of_label, key, theirs)
        for label, of_label in lines.items()
        for key, measure in places
    }
    notes = [
        f"{label}{f', {titles.model(model)}' if design.by == 'model' else ''}: {line.told}"
        for label, of_label in lines.items()
        for model, line in of_label.items()
        if line.told
    ]
    if design.has_star:
        notes += _with_stars(cells, design, lines, keys, bootstrap)
    rows = [
        table.TableRow(
            label=label, rule=label == titles.method("multi_lora"),
            cells=[cells[label, key, measure.name] for key, measure in places],
        )
        for label in lines
    ]  # fmt: skip
    return table.marked(Table(
        name=design.name, title=design.title, corner="Variant" if "ablation" in design.name else "Method",
        group_heading={"model": "Backbone LLM", "task": "Data set"}.get(design.by, ""),
        column_heading="Metric" if design.by else "",
        columns=[measure.column(keys[key]) for key, measure in places], rows=rows, notes=notes,
        facts=_facts(design, [line.row for of_label in lines.values() for line in of_label.values() if line.row]),
        has_published=design.published is not None, is_wide=design.is_wide, command=command(design.experiment),
    ))  # fmt: skip


def _groups(design: Design, lines: Lines) -> dict[str, str]:
    """The groups of columns: their keys in published files, with their titles."""
    if design.by == "task":
        return dict(titles.MINI_TASKS if design.is_generated else titles.TASKS)
    models = dict.fromkeys(model for of_label in lines.values() for model in of_label)
    return {model: _backbone(model, lines) if design.by else "" for model in models}


def _backbone(model: str, lines: Lines) -> str:
    """A backbone's title, with what its runs' weights are."""
    rows = [line.row for of_label in lines.values() if (line := of_label.get(model))]
    origin = next((row.runs[0].weights for row in rows if row), "")
    return titles.model(model) + titles.weights(origin)


def _line_of(design: Design, of_label: Mapping[str, TableLine], key: str) -> TableLine | None:
    """A label's line in a group: one for all tasks, else that of the model; None where the row has no such model."""
    if design.by == "task":
        (of_all_tasks,) = of_label.values()
        return of_all_tasks
    return of_label.get(key)


def _task(design: Design, measure: Measure, key: str) -> str:
    return key if design.by == "task" else measure.task


def _cell(
    design: Design, measure: Measure, of_label: Mapping[str, TableLine], key: str, theirs: PublishedCells
) -> TableCell:
    line, any_of_label = _line_of(design, of_label, key), next(iter(of_label.values()))
    cell = _value(measure, line, _task(design, measure, key)) if line else TableCell()
    found = theirs.get((any_of_label.expected.names[1], key if design.by else "", measure.metric))
    if found is None or any_of_label.variant:
        return cell
    return replace(
        cell, published=found.published, published_mark=found.published_mark, published_star=found.published_star
    )


def _value(measure: Measure, line: TableLine, task: str) -> TableCell:
    """The mean over folds; without runs a dash with the command that makes them, unless others were refused."""
    if line.row is None:
        missing = None if line.refused else line.expected.missing(())
        return TableCell(folds=0, num_folds=NUM_FOLDS, note=line.told, command=missing)
    if measure.word:
        return TableCell(value=measure.word(line.row), folds=len(line.row.folds), num_folds=NUM_FOLDS, note=line.told)
    values = measure.values(line.row, task)
    mean, note = mean_of(values), line.told
    if mean is None:
        note = "; ".join(filter(None, (note, f"no {measure.name} in some record")))
    constant = measure.value is not None and len(set(values)) == 1
    return TableCell(
        value=mean,
        spread=None if constant else spread_of(values),
        folds=len(values),
        num_folds=NUM_FOLDS,
        note=note,
        command=line.expected.missing(line.row.cells) if not line.variant and not line.row.mixed else None,
        is_mixed=line.row.mixed is not None,
    )


def _published(design: Design, papers: Published) -> PublishedCells:
    """The paper's numbers by method, group and metric."""
    if design.published == published.ABLATION:
        best = min(papers.ablation.values())
        return {
            (method, "", "ppl"): TableCell(published=ppl, published_mark=BEST if ppl == best else None)
            for method, ppl in papers.ablation.items()
        }
    return {
        (c.method, c.column, c.metric): TableCell(
            published=c.value, published_mark=c.mark or None, published_star=c.starred
        )
        for c in papers.tables.get(design.published or "", ())
    }


def _facts(design: Design, rows: Sequence[SelectedRow]) -> list[str]:
    """What a caption must say of how the numbers came about."""
    if not rows:
        return []
    runs = [run for row in rows for run in row.runs]
    seeds = [number for row in rows for number in row.seeds]
    of_trainings = f", each of {titles.span(seeds)} trainings," if max(seeds) > 1 else ""
    found = [f"Means over folds{of_trainings} {table.PLUS_MINUS} sample standard deviation over folds."]
    if design.by != "task" and any(measure.metric == "ppl" for measure in design.measures):
        found.append("Mean PPL is the mean of the tasks' PPL, not the PPL of all their tokens.")
    decoded = [measure for measure in design.measures if measure.is_score and measure.metric != "ppl"]
    numbers = {
        n for run in runs for task in run.tasks for m in decoded if (n := run.number(m.metric, task)) is not None
    }
    if numbers:
        what = " and ".join(measure.name for measure in decoded)
        found.append(f"{what} rest on {titles.span(numbers)} test samples of a task and fold.")
    if any(run.is_tuned for run in runs):
        found.append("Learning rates were chosen on the validation part of fold 0.")
    return found


def _with_stars(
    cells: dict[tuple[str, str, str], TableCell],
    design: Design,
    lines: Lines,
    keys: Mapping[str, str],
    bootstrap: "Bootstrap | None",
) -> list[str]:
    """Compare HyCAM's cells with the best other PEFT row of their column, corrected for all columns of the table; the
    notes say where nothing could be compared, and why."""
    from hycam_exp.report.statistics.significance import with_holm

    places = [(key, measure) for key in keys for measure in design.measures if measure.is_score]
    made: dict[tuple[str, str], Comparison] = {}
    rows: dict[str, list[SelectedRow]] = {}
    notes: list[str] = []
    for key, measure in places:
        of_column = [line for of_label in lines.values() if (line := _line_of(design, of_label, key))]
        found, reasons = _compared(of_column, measure, _task(design, measure, key))
        notes += [f"{f'{keys[key]}: ' if keys[key] else ''}{reason}" for reason in reasons]
        if found is not None:
            made[key, measure.name] = found
            rows[key] = [line.row for line in of_column if line.row]
    for (key, name), comparison in zip(made, with_holm(list(made.values())), strict=True):
        ours, rival = (next(r for r in rows[key] if r.label == x) for x in (comparison.ours, comparison.baseline))
        resampled = bootstrap.compare(ours, rival, comparison.metric, comparison.task) if bootstrap else None
        place = (titles.method(OURS), key, name)
        cells[place] = cells[place].compared_with(comparison, resampled)
    return list(dict.fromkeys(notes))


def _compared(lines: Sequence[TableLine], measure: Measure, task: str) -> tuple["Comparison | None", list[str]]:
    """HyCAM against the other PEFT rows of a column, or None; and what a reader must know of it."""
    from hycam_exp.report.statistics.significance import compare, lacks

    asked = {line.expected.names[1]: line for line in lines if not line.variant and is_peft(line.expected.names[1])}
    if OURS not in asked or all(line.row is None for line in asked.values()):
        return None, []
    absent = [titles.method(name) for name, line in asked.items() if line.row is None]
    mixed = [titles.method(name) for name, line in asked.items() if line.row and line.row.mixed]
    if absent or mixed:
        what = f"{', '.join(absent)} missing" if absent else f"{', '.join(mixed)} mixed"
        return None, [f"no star: {what}"]
    rows = [line.row for line in asked.values() if line.row]
    variants = [line.row for line in lines if line.variant and line.row and is_peft(line.row.method)]
    incomplete = {row.label: reason for row in variants if (reason := lacks(row, measure.metric, task))}
    rivals = [row for row in (*rows, *variants) if row is not asked[OURS].row and row.label not in incomplete]
    ours = asked[OURS].row
    assert ours is not None, "it would be absent"
    found = compare(ours, rivals, measure.metric, task)
    notes = [f"not compared: {reason}" for reason in incomplete.values()]
    if found.reason:
        notes.append(f"no star: {found.reason}")
    return (found if found.difference is not None else None), notes
