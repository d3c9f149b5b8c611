"""The page as one text: templates that escape all they are given, its own style and script, nothing from outside."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hycam_exp.config.settings import NUM_FOLDS
from hycam_exp.evaluation.metrics import SCORES
from hycam_exp.report import titles
from hycam_exp.report.frame import FinishedRun
from hycam_exp.report.page import figure_view, run_list
from hycam_exp.report.page.content import PageContent
from hycam_exp.report.page.packing import Pool, inline_json, packed, rounded
from hycam_exp.report.page.run_view import MOST_POINTS, run_view
from hycam_exp.report.page.sample_texts import SampleTexts
from hycam_exp.report.page.table_view import TableViews

FOLDER = Path(__file__).parent
METRIC_TITLES = {
    "ppl_before": "PPL before", **SCORES, "bits_per_byte": "Bits per byte", "ppl_without_eos": "PPL without EOS",
    "ppl_released": "PPL as released", "cap_share": "Share cut at the most tokens",
}  # fmt: skip
"""The scores of a run's page in their order, with their titles."""
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
    runs = [run for row in content.rows for run in (*row.runs, *row.further)]
    lines = list(run_list.lines(content.rows))
    return {
        "content": content,
        "policy": _policy(style, script),
        "style": Markup(style),
        "script": Markup(script),
        "data": Markup(inline_json(_data(runs, content.samples))),
        "totals": _totals(content, runs),
        "tables": sorted(map(TableViews, content.tables), key=lambda views: not views.has_values),  # ours first
        "figures": list(figure_view.figures(content.figures)),
        "lines": lines,
        "scores": run_list.SCORES,
        "choices": _choices(lines, runs),
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


def _data(runs: Sequence[FinishedRun], samples: SampleTexts) -> dict[str, Any]:
    """What the script reads: every run by itself, so that one is unpacked when it is opened, and what they share."""
    pool = Pool()
    views = {run.id: packed(run_view(run, samples.runs[run.id], pool)) for run in runs}
    scores = {run.id: rounded(run_list.task_scores(run)) for run in runs}
    names = {
        "tasks": titles.TASKS | titles.MINI_TASKS,
        "methods": titles.METHODS,
        "models": titles.MODELS,
        "metrics": METRIC_TITLES,
    }
    return {"shared": packed({"pool": pool.values, "scores": scores, "titles": names}), "runs": views}


def _totals(content: PageContent, runs: Sequence[FinishedRun]) -> list[tuple[str, str]]:
    """The overview's numbers."""
    hours = sum(run.seconds for run in runs) / 3600
    versions = {run.version for run in runs}
    return [
        _counted(len(runs), "run"),
        _counted(len(content.rows), "setting"),
        _counted(sum(row.is_complete for row in content.rows), "setting", f"with all {NUM_FOLDS} folds"),
        ("hours of computing", f"{hours:,.1f}"),
        _counted(len(versions), "version", "of the results"),
        _counted(len(content.problems), "problem"),
    ]


def _counted(number: int, noun: str, rest: str = "") -> tuple[str, str]:
    """A noun in the number's own form, and the number."""
    return f"{noun if number == 1 else f'{noun}s'} {rest}".rstrip(), f"{number:,}"


def _choices(lines: Sequence[run_list.RunLine], runs: Sequence[FinishedRun]) -> Mapping[str, Mapping[str, str]]:
    """The options of the filters, with their titles."""
    tasks = dict.fromkeys(task for run in runs for task in run.tasks)
    return {
        "model": {run.names[0]: titles.model(run.names[0]) + titles.weights(run.weights) for run in runs},
        "data": {line.data: line.data for line in lines},
        "method": {line.method: line.method_title for line in lines},
        "task": {task: titles.task(task) for task in tasks},
    }
