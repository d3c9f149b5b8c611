"""The tables of the report from summaries and experiment files.

build(summarise(read(Path("results")).records), Experiments(Memo(None))).tables[1].name  # table2_main
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hycam_exp.data.measured import Measured
from hycam_exp.report import published, titles
from hycam_exp.report.claims.scoreboard import OURS
from hycam_exp.report.experiments import Expected, Experiments, command
from hycam_exp.report.frame import Problem
from hycam_exp.report.match import Match, match, same_splits, variants
from hycam_exp.report.published import Published
from hycam_exp.report.select import Summary
from hycam_exp.report.statistics.stars import Contest, Star, stars
from hycam_exp.report.tables.columns import Measure, note_of
from hycam_exp.report.tables.datasets import datasets
from hycam_exp.report.tables.designs import DESIGNS, Design
from hycam_exp.report.tables.table import BEST, Cell, Row, Table, marked

if TYPE_CHECKING:
    from hycam_exp.report.statistics.resampling import Resampling

Matches = dict[str, dict[str, Match]]
"""Row by label, then the group's key."""
PublishedCells = Mapping[tuple[str, str, str], Cell]
"""Of the paper's files, by row, group's key and metric."""


@dataclass(frozen=True)
class Report:
    """The tables, and what was refused."""

    tables: list[Table]
    problems: list[Problem]


@dataclass(frozen=True)
class _Group:
    """A group of columns: its key in published files, its title, and the task whose scores it shows."""

    key: str
    title: str
    task: str | None


def build(
    summaries: Sequence[Summary],
    experiments: Experiments,
    allow_mixed: bool = False,
    resampling: "Resampling | None" = None,
    measured: Measured | None = None,
) -> Report:
    """Every table, in the paper's order, then ours; with `resampling` HyCAM's cells have a bootstrap, too, and with
    `measured` Table 1 has tokens.
    """
    scored = [s for s in summaries if any(value is not None for value in s.values("ppl"))]
    experiments.prepare((design.experiment for design in DESIGNS), {(s.model, s.method, s.data) for s in scored})
    papers = published.read()
    tables, problems = [datasets(scored, papers.datasets, measured)], set()
    for design in DESIGNS:
        rows = _matches(design, experiments.rows(design.experiment), scored, allow_mixed)
        tables.append(_table(design, rows, papers, resampling))
        found = [m for of_row in rows.values() for m in of_row.values()]
        problems |= {Problem(m.place, f"refused: {m.refused}") for m in found if m.refused}
    return Report(tables, sorted({*problems, *(resampling.problems if resampling else ())}))


def _matches(design: Design, expected: Sequence[Expected], summaries: Sequence[Summary], allow_mixed: bool) -> Matches:
    """The rows' records; what stands in one group of columns was tested on the same records."""
    rows: Matches = {}
    for model in dict.fromkeys(e.names[0] for e in expected):
        of_model: list[tuple[str, Match]] = []
        for e in (e for e in expected if e.names[0] == model):
            of_model.append((_label(design, e), match(e, summaries, allow_mixed)))
            if design.has_variants:
                of_model += [(f"{_label(design, e)} ({v.variant})", v) for v in variants(e, summaries)]
        checked = same_splits([m for _, m in of_model], allow_mixed)
        for (label, _), m in zip(of_model, checked, strict=True):
            rows.setdefault(label, {})[model] = m
    return rows


def _label(design: Design, expected: Expected) -> str:
    if design.label == "method":
        return titles.method(expected.names[1])
    switches = dict(line.split("=", 1) for line in expected.overrides)["released"].strip("[]")
    return f"+ {switches.split(',')[-1]}" if switches else "HyCAM (paper)"


def _table(design: Design, rows: Matches, papers: Published, resampling: "Resampling | None") -> Table:
    groups = _groups(design, rows)
    theirs = _published(design, papers)
    cells = {
        (label, group.key, measure.name): _cell(design, measure, of_row, group, theirs)
        for label, of_row in rows.items()
        for group in groups
        for measure in design.measures
    }
    notes = [*_row_notes(design, rows), *_code_notes(rows)]
    if design.has_star:
        notes += _with_stars(cells, design, rows, groups, resampling)
    columns = [measure.column(group.title) for group in groups for measure in design.measures]
    places = [(group.key, measure.name) for group in groups for measure in design.measures]
    table = Table(
        name=design.name,
        title=design.title,
        corner="Variant" if "ablation" in design.name else "Method",
        group_heading={"model": "Backbone LLM", "task": "Data set"}.get(design.by, ""),
        column_heading="Metric" if design.by else "",
        columns=columns,
        rows=[
            Row(
                label=label, cells=[cells[label, *place] for place in places], rule=label == titles.method("multi_lora")
            )
            for label in rows
        ],
        notes=notes,
        has_published=design.published is not None,
        is_wide=design.is_wide,
        command=command(design.experiment),
    )
    return marked(table)


def _groups(design: Design, rows: Matches) -> list[_Group]:
    if design.by == "task":
        return [_Group(task, titles.task(task, design.is_generated), task) for task in titles.TASKS]
    models = dict.fromkeys(model for of_row in rows.values() for model in of_row)
    return [_Group(model, titles.model(model) if design.by else "", None) for model in models]


def _cell(design: Design, measure: Measure, of_row: Mapping[str, Match], group: _Group, theirs: PublishedCells) -> Cell:
    m, any_of_row = _match(design, of_row, group), next(iter(of_row.values()))
    cell = measure.cell(m, group.task) if m else Cell()
    found = theirs.get((any_of_row.expected.names[1], group.key if design.by else "", measure.metric))
    if found is None or any_of_row.variant:
        return cell
    return replace(
        cell, published=found.published, published_mark=found.published_mark, published_star=found.published_star
    )


def _match(design: Design, of_row: Mapping[str, Match], group: _Group) -> Match | None:
    """A row's records in a group: one for all tasks, else that of the model; None where the row has no such model."""
    if design.by == "task":
        (of_all_tasks,) = of_row.values()
        return of_all_tasks
    return of_row.get(group.key)


def _published(design: Design, papers: Published) -> PublishedCells:
    """The paper's numbers by method, group and metric."""
    if design.published == published.ABLATION:
        best = min(papers.ablation.values())
        return {
            (method, "", "ppl"): Cell(published=ppl, published_mark=BEST if ppl == best else None)
            for method, ppl in papers.ablation.items()
        }
    return {
        (c.method, c.column, c.metric): Cell(published=c.value, published_mark=c.mark or None, published_star=c.starred)
        for c in papers.tables.get(design.published or "", ())
    }


def _with_stars(
    cells: dict[tuple[str, str, str], Cell],
    design: Design,
    rows: Matches,
    groups: Sequence[_Group],
    resampling: "Resampling | None",
) -> list[str]:
    """Set HyCAM's stars in the cells; the notes say where there are none and why."""
    places = [(group, measure) for group in groups for measure in design.measures if measure.is_score]
    by_method = {
        group.key: {
            m.expected.names[1]: m for of_row in rows.values() if (m := _match(design, of_row, group)) and not m.variant
        }
        for group in groups
    }
    tests = [Contest(by_method[group.key], measure.metric, group.task or measure.task) for group, measure in places]
    notes: list[str] = []
    for (group, measure), star in zip(places, stars(tests, resampling), strict=True):
        place = (titles.method(OURS), group.key, measure.name)
        cells[place] = _starred(cells[place], star)
        if star.reason:
            notes.append(f"no star{f' for {group.title}' if group.title else ''}: {star.reason}")
    return list(dict.fromkeys(notes))


def _starred(cell: Cell, star: Star) -> Cell:
    return replace(
        cell, star=star.corrected, star_uncorrected=star.uncorrected, comparison=star.comparison,
        resampled=star.resampled,
    )  # fmt: skip


def _row_notes(design: Design, rows: Matches) -> list[str]:
    """What was refused, mixed or lies elsewhere, by row."""
    return [
        f"{label}{f', {titles.model(model)}' if design.by == 'model' else ''}: {note}"
        for label, of_row in rows.items()
        for model, m in of_row.items()
        if (note := note_of(m))
    ]


def _code_notes(rows: Matches) -> list[str]:
    """Which rows were made by which code, if it was not the same."""
    labels: dict[str, dict[str, None]] = {}
    for label, of_row in rows.items():
        for m in of_row.values():
            for version in sorted(m.summary.versions) if m.summary else ():
                labels.setdefault(version, {})[label] = None
    if len(labels) < 2:
        return []
    shown = "; ".join(f"{version} ({', '.join(found)})" for version, found in labels.items())
    return [f"the rows are not all of one version of the results: {shown}"]
