"""The page as one text: templates that escape all they are given, its own style and script, nothing from outside."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hycam_exp.config import NUM_FOLDS
from hycam_exp.report import titles
from hycam_exp.report.frame import tasks_of
from hycam_exp.report.page import figure_view, run_list
from hycam_exp.report.page.content import PageContent
from hycam_exp.report.page.packing import Pool, inline_json, packed, rounded
from hycam_exp.report.page.run_view import MOST_POINTS, run_view
from hycam_exp.report.page.sample_texts import SampleTexts
from hycam_exp.report.page.table_view import TableViews
from hycam_exp.runs import RunRecord

FOLDER = Path(__file__).parent
SCRIPTS = ("elements", "payload", "tables", "figures", "runs", "curves", "differences", "samples", "run", "routes")
"""The script's files in their order."""


def document(content: PageContent) -> str:
    """The page: the same bytes for the same content."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html").render(_values(content)) + "\n"


def _values(content: PageContent) -> dict[str, Any]:
    style, script = _own("page.css"), "\n".join(_own(f"{name}.js") for name in SCRIPTS)
    records = [record for summary in content.summaries for record in summary.records]
    lines = list(run_list.lines(content.summaries))
    return {
        "content": content,
        "policy": _policy(style, script),
        "style": Markup(style),
        "script": Markup(script),
        "data": Markup(inline_json(_data(records, content.samples))),
        "totals": _totals(content, records),
        "tables": sorted(map(TableViews, content.tables), key=lambda views: not views.has_values),  # ours first
        "figures": list(figure_view.figures(content.figures)),
        "lines": lines,
        "scores": run_list.SCORES,
        "choices": _choices(lines, records),
        "samples": content.samples,
        "most_points": MOST_POINTS,
        "num_folds": NUM_FOLDS,
    }


def _own(name: str) -> str:
    """A file of this folder that goes into the page as it is."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert "</" not in text, f"{name} would end its element"
    return text


def _policy(style: str, script: str) -> str:
    """What the browser may load: the page's own style and script by their hash, and pictures in the page."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _data(records: Sequence[RunRecord], samples: SampleTexts) -> dict[str, Any]:
    """What the script reads: every run by itself, so that one is unpacked when it is opened, and what they share."""
    pool = Pool()
    runs = {record.run_id: packed(run_view(record, samples.runs[record.run_id], pool)) for record in records}
    scores = {record.run_id: rounded(run_list.task_scores(record)) for record in records}
    names = {"tasks": titles.TASKS, "methods": titles.METHODS, "models": titles.MODELS}
    return {"shared": packed({"pool": pool.values, "scores": scores, "titles": names}), "runs": runs}


def _totals(content: PageContent, records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """The overview's numbers."""
    hours = sum(sum(record.cost["seconds"].values()) for record in records) / 3600
    versions = {record.results_version for record in records}
    return [
        _counted(len(records), "run"),
        _counted(len(content.summaries), "setting"),
        _counted(sum(s.is_complete for s in content.summaries), "setting", f"with all {NUM_FOLDS} folds"),
        ("hours of computing", f"{hours:,.1f}"),
        _counted(len(versions), "version", "of the results"),
        _counted(len(content.problems), "problem"),
    ]


def _counted(number: int, noun: str, rest: str = "") -> tuple[str, str]:
    """A noun in the number's own form, and the number."""
    return f"{noun if number == 1 else f'{noun}s'} {rest}".rstrip(), f"{number:,}"


def _choices(lines: Sequence[run_list.Line], records: Sequence[RunRecord]) -> Mapping[str, Mapping[str, str]]:
    """The options of the filters, with their titles."""
    tasks: dict[str, bool] = {}
    for record in records:
        is_generated = titles.is_generated(record.config["data"])
        tasks |= {task: tasks.get(task, True) and is_generated for task in tasks_of(record)}
    return {
        "model": {line.model: titles.model(line.model) for line in lines},
        "data": {line.data: line.data for line in lines},
        "method": {line.method: line.method_title for line in lines},
        "task": {task: titles.task(task, tasks[task]) for task in tasks},
    }
