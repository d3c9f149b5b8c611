"""Writes docs/results.md, docs/claims.md and the README's table of results from the records of the studies.

python -m scripts.results_pages  # the last step of `make tables`; a test holds the three to the records
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import fill
from typing import Any

from hycam_exp.data.table1 import FILE, read_measured
from hycam_exp.records.version import HISTORY, RESULTS_VERSION
from hycam_exp.report import published, settings, titles
from hycam_exp.report.cache import Cache, kept_in
from hycam_exp.report.claims.evidence import gather
from hycam_exp.report.claims.statements import Finding, Statement
from hycam_exp.report.claims.statements import found as statements
from hycam_exp.report.experiments import Experiments, command, progress
from hycam_exp.report.figures.catalogue import CATALOGUE
from hycam_exp.report.frame import Frame, read
from hycam_exp.report.page.captions import caption
from hycam_exp.report.select import Selection, row_cells, select
from hycam_exp.report.sources import RecordSource, sources
from hycam_exp.report.statistics.bootstrap import Bootstrap
from hycam_exp.report.statistics.significance import Comparison
from hycam_exp.report.tables import text
from hycam_exp.report.tables.build import Report, build
from hycam_exp.report.tables.datasets import datasets
from hycam_exp.report.tables.table import Table, compared
from hycam_exp.report.titles import interval, number, p_value
from hycam_exp.runtime.files import write_atomically

ROOT = Path(__file__).parents[1]
START, END = "<!-- results -->\n", "<!-- /results -->"
SHOWN = "mini"
"""The study whose table of the same name stands in the README."""
RESULTS_HEAD = """# Results

`make tables` writes this page from the records of the studies, and nothing on it is written by hand
(`python -m scripts.results_pages`; a test holds it to the records). What the marks mean is said under every table;
[tables.md](tables.md) says which runs stand in a row, [statistics.md](statistics.md) what is tested and how.
"""
CLAIMS_HEAD = """# The paper's statements, recomputed

`make tables` writes this page, and nothing on it is written by hand: it is what `python -m hycam_exp.report claims`
finds in the paper's own tables (`results/published`) and in the records of the studies. *Ours* is on the backbone and
the data mix that it names, which are not the paper's unless they bear the paper's names.
"""


@dataclass(frozen=True, eq=False)
class Study:
    """The records of a study, and what the report makes of them."""

    frame: Frame
    experiments: Experiments

    @property
    def source(self) -> RecordSource:
        return self.frame.source

    @property
    def name(self) -> str:
        return self.source.out.name

    @property
    def version(self) -> int | None:
        """The version of the results that its records are of; None where none can be used."""
        return self.frame.runs[0].version if self.frame.runs else None

    @property
    def is_of_today(self) -> bool:
        """Its numbers mean what this code's do."""
        return self.version == RESULTS_VERSION

    @cached_property
    def selection(self) -> Selection:
        return select(self.frame, self.experiments)

    @cached_property
    def report(self) -> Report:
        """All tables."""
        bootstrap = Bootstrap(self.source, self.experiments.cache)
        return build(self.selection, self.experiments, bootstrap=bootstrap)

    @property
    def tables(self) -> list[Table]:
        """The tables of scores in which its records fill two rows at least: one alone compares nothing."""
        scored = [table for table in self.report.tables if table.name != "table1_datasets"]
        return [t for t in scored if sum(any(cell.folds for cell in row.cells) for row in t.rows) > 1]


def studies(results: Path, cache: Cache) -> list[Study]:
    """Every study of a folder of results; the user's own runs are none."""
    experiments = Experiments(cache)
    own = RecordSource.own(results)
    return [Study(read(source, experiments), experiments) for source in sources(results) if source != own]


def caveat(study: Study) -> str:
    """What a reader must know before any number of a study."""
    folder = f"`results/studies/{study.name}`"
    if study.version is None:
        return f"{folder} has no record that can be used."
    if not study.is_of_today:
        since = [f" Version {of}: {said}" for of, said in HISTORY.items() if study.version < of <= RESULTS_VERSION]
        return (
            f"The records of {folder} are of version {study.version} of the results, and no number of them should be"
            f" quoted: this code makes version {RESULTS_VERSION} (`hycam_exp/records/version.py`)." + "".join(since)
        )
    groups = study.selection.groups
    models = ", ".join(dict.fromkeys(f"{titles.model(g.model)}{titles.weights(g.weights)}" for g in groups))
    mixes = ", ".join(dict.fromkeys(group.data for group in groups))
    said = f"The {len(study.frame.runs)} cells of {folder} are on the backbone {models} and the data mix {mixes}."
    if all(run.is_generated for run in study.frame.runs):
        said += " All tasks are generated: the numbers compare the methods there, and say nothing of real data sets."
    return said


def results_page(of: Sequence[Study], measured: Table) -> str:
    """docs/results.md: every study, and Table 1 of the data sets on disk."""
    parts = [RESULTS_HEAD]
    for study in of:
        parts += [f"## The study `{study.name}`\n", f"{caveat(study)}\n"]
        parts += _study(study) if study.is_of_today else []
    return "\n".join([*parts, "## The data sets\n", _markdown(compared(measured))])


def _study(study: Study) -> Iterator[str]:
    yield "\n".join(_about(study)) + "\n"
    grids = {grid.command: grid for grid in progress(study.experiments, row_cells(study.selection, study.experiments))}
    for table in study.tables:
        yield from (_markdown(form) for form in ([table, compared(table)] if table.has_published else [table]))
        grid = grids[str(table.command)]
        files = ", ".join(f"[{end}]({_link(study, f'tables/{table.name}.{end}')})" for end in ("csv", "tex"))
        made = command(grid.experiment, f"study={study.name}")
        yield (
            f"{grid.done} of {grid.total} cells are there; `{made}` makes them, and"
            f" `python -m hycam_exp.report study={study.name}` the table: {files}.\n"
        )
        yield from _differences(table)
    yield "### Figures\n"
    yield f"Made by `python -m hycam_exp.report study={study.name}`, those of one run by the command beside them.\n"
    yield "\n".join(_figures(study)) + "\n"
    yield "### Settings\n"
    yield from _settings(study)


def _about(study: Study) -> Iterator[str]:
    """What the cells cost, what they were trained and tested on, and what is wrong with some."""
    runs = study.frame.runs
    yield f"- Records: [records]({_link(study, 'records')}), version {study.version} of the results."
    hours = number(sum(run.seconds for run in runs) / 3600, ".1f")
    yield f"- Cost: {hours} hours in all, on {', '.join(sorted({run.device for run in runs}))}."
    parts = [part for run in runs for part in run.parts.values()]
    counts = [f"{titles.span([part[name] for part in parts])} {name}" for name in ("train", "validation", "test")]
    yield f"- Records of a task in a fold: {', '.join(counts)}."
    for problem in [*study.frame.problems, *study.selection.problems, *study.report.problems]:
        yield f"- Not in the tables: {text.escape(str(problem).replace(f'{ROOT}/', ''))}."


def _markdown(table: Table) -> str:
    """A table with its caption and notes; the heading is its name, the title the first sentence below it."""
    title, _, rest = text.markdown(table).partition("\n\n")
    return f"### `{table.name}`\n\n{title.removeprefix('## ')}\n\n{rest}"


def _link(study: Study, path: str) -> str:
    return f"../results/studies/{study.name}/{path}"


def _differences(table: Table) -> Iterator[str]:
    """HyCAM against the best other PEFT row of every column, in words."""
    said = [
        f"- **{f'{column.group}, {column.name}' if column.group else column.name}**: {in_words(cell.comparison)}"
        + (f", bootstrap {interval(cell.resampled.interval, '+.3f')}." if cell.resampled else ".")
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
        if cell.comparison
    ]
    if said:
        yield (
            "HyCAM against the best other PEFT row of each column: the difference over folds with its 95% interval, p"
            " of the corrected resampled t-test with Holm's correction over the table's columns, the standardised"
            " difference d\\_z with its 95% interval, and the bootstrap's 95% interval of the difference over test"
            " samples.\n"
        )
        yield "\n".join(said) + "\n"


def in_words(c: Comparison) -> str:
    """A comparison in a row of words: `1.801, significantly worse than LoRA's 1.619: +0.182 (+0.1 to +0.3), p ...`."""
    assert c.baseline, "a cell is compared with a row"
    assert c.gain is not None, "of which there is a difference"
    direction = "better than" if c.gain > 0 else "worse than" if c.gain < 0 else "different from"
    degree = "significantly" if c.is_significant else "not significantly"
    p, alone = (of if of.startswith("<") else f"= {of}" for of in map(p_value, (c.p_corrected_holm, c.p)))
    tested = f"p {p} (the paired t-test alone: p {alone})" if c.p_corrected_holm is not None else f"no test: {c.reason}"
    effect = f", d\\_z {number(c.effect, '.1f')} ({interval(c.effect_interval, '.1f')})" if c.effect is not None else ""
    return (
        f"{number(c.mean)}, {degree} {direction} {text.escape(titles.label(c.baseline))}'s {number(c.baseline_mean)}: "
        f"{number(c.difference, '+.3f')} ({interval(c.interval, '+.3f')}), {tested}{effect}"
    )


def _figures(study: Study) -> Iterator[str]:
    """A line for each figure: what records alone give, and what was drawn from a run's adapter."""
    for mix, group in study.selection.main.items():
        for name, entry in CATALOGUE.items():
            shown = entry.shown(group.rows)
            files = [f"{name}-{line.file_name}" for line in shown] if name == "routing" else [name] if shown else []
            for file in files:
                title, about = caption(file)
                yield f"- {title}: {_files(study, f'figures/{mix}/{file}')}. {about}"
    for run in study.frame.runs:
        for path in sorted((study.source.out / "figures" / run.id).glob("*.png")):
            title, about = caption(path.stem)
            made = f"`python -m hycam_exp.report figures run={run.id} study={study.name}`"
            yield f"- {title}: {_files(study, f'figures/{run.id}/{path.stem}')}. {about} Made by {made}."


def _files(study: Study, name: str) -> str:
    return ", ".join(f"[{end.upper()}]({_link(study, f'{name}.{end}')})" for end in ("png", "pdf", "csv"))


def _settings(study: Study) -> Iterator[str]:
    """What all runs share, as the command line would set it, and for each row what is its own."""
    of_runs = [settings.values(run.record.config) for run in study.frame.runs]
    shared = {k: v for k, v in of_runs[0].items() if all(k in of and settings.same(v, of[k]) for of in of_runs)}
    yield "All cells have these values:\n"
    yield "```\n" + "\n".join(settings.shown({key: value}) for key, value in sorted(shared.items())) + "\n```\n"
    yield "and those of a row besides:\n"
    path = study.source.out / "tuning.json"
    searched = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for row in study.selection.rows:
        own = settings.values(row.runs[0].record.config)
        said = {*shared, "method.name", "recipe.learning_rate"}
        apart = settings.shown({k: v for k, v in sorted(own.items()) if k not in said})
        seeds = "; ".join(f"fold {f}: {', '.join(str(run.seed) for run in of)}" for f, of in row.by_fold.items())
        rate = _rate(own["recipe.learning_rate"], searched.get(row.method))
        yield f"- **{text.escape(titles.label(row.label))}**, {rate}. Seeds of {seeds}." + f" `{apart}`" * bool(apart)
    if searched:
        search = f"python -m scripts.search_learning_rate --study {study.name}"
        file = f"[tuning.json]({_link(study, path.name)})"
        yield f"\nThe search for learning rates, on the validation part of fold 0: {file}, by `{search}`.\n"


def _rate(rate: float, searched: Mapping[str, Any] | None) -> str:
    """A row's learning rate, and whether a search chose it."""
    if searched is None:
        return f"learning rate {rate:g}, not searched"
    tried = len({cell["learning_rate"] for cell in searched["cells"]})
    chosen = "chosen" if searched["choice"] == rate else f"not that which was chosen, {searched['choice']:g},"
    return f"learning rate {rate:g}, {chosen} of {tried} rates"


def claims_page(of: Sequence[Study], cache: Cache) -> str:
    """docs/claims.md: every statement with its definition and verdicts."""
    of_today = [study for study in of if study.is_of_today]
    evidence = [mix for study in of_today for mix in gather(study.selection)]
    said = [caveat(study) for study in of]
    found = statements(published.read(), evidence, cache)
    return "\n".join([CLAIMS_HEAD, *(f"{sentence}\n" for sentence in said), *map(_statement, found)])


def _statement(of: Statement) -> str:
    lines = [
        f"## `{of.id}`\n",
        f"{text.escape(of.statement)} ({text.escape(of.where)}).\n",
        f"- Definition: {text.escape(of.definition)}.",
        f"- By the paper's tables: {_finding(of.published)}",
        *(f"- Ours: {_finding(finding)}" for finding in of.ours),
    ]
    return "\n".join(lines) + "\n"


def _finding(of: Finding) -> str:
    place = f" ({text.escape(of.setting)})" if of.setting else ""
    return f"**{of.verdict}**{place}: {text.escape(of.text)}."


def readme(page: str, of: Sequence[Study]) -> str:
    """The README with the block of results that its study gives.

    Raises:
        ValueError: it has no such block.
    """
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"README.md: no block between {START.strip()} and {END}")
    said = []
    for study in of:
        if study.name == SHOWN:
            said.append(f"{fill(caveat(study), 120, break_on_hyphens=False)}\n")
            tables = study.tables if study.is_of_today else []
            said += [text.markdown(table).partition("\n\n")[2] for table in tables if table.name == SHOWN]
    said.append("`docs/results.md` has the studies' tables, the statistics behind them, their settings and figures.\n")
    return before + start + "\n".join(said) + end + after


def pages(results: Path, cache: Cache) -> dict[Path, str]:
    """The three pages by their paths below the project's folder."""
    of = studies(results, cache)
    measured = datasets([], published.read().datasets, read_measured(results / FILE))
    return {
        Path("docs/results.md"): results_page(of, measured),
        Path("docs/claims.md"): claims_page(of, cache),
        Path("README.md"): readme((ROOT / "README.md").read_text(encoding="utf-8"), of),
    }


def main() -> None:
    """Write the pages whose content changed."""
    cache = kept_in(ROOT / "outputs")
    for path, content in pages(ROOT / "results", cache).items():
        if not (ROOT / path).is_file() or (ROOT / path).read_text(encoding="utf-8") != content:
            write_atomically(ROOT / path, content.encode())
            print(f"wrote {path}")
    cache.save()


if __name__ == "__main__":
    main()
