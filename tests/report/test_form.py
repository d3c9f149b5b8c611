"""A record of another form is named; nothing that a record may hold ends a report."""

import copy
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hycam_exp.report.claims.evidence import gather
from hycam_exp.report.claims.statements import found
from hycam_exp.report.experiments import progress
from hycam_exp.report.figures.catalogue import CATALOGUE, Drawing, write_all
from hycam_exp.report.frame import Frame
from hycam_exp.report.frame import read as read_source
from hycam_exp.report.page import PageContent, document, sample_texts
from hycam_exp.report.published import read as read_published
from hycam_exp.report.select import row_cells, select
from hycam_exp.report.sources import Source
from hycam_exp.report.tables import text
from hycam_exp.report.tables.build import build
from hycam_exp.report.tables.means import means
from tests.report.conftest import MINI, mini_records
from tests.report.toy import known_experiments

REMOVED = object()
OTHERS = (REMOVED, None, "text", [], [None], 0, -1, True, {}, {"a": None})
Path_ = tuple[str | int, ...]
Fields = dict[str, Any]
Runs = dict[str, Fields]


def read(results: Path) -> Frame:
    return read_source(Source.own(results), known_experiments())


@pytest.fixture(scope="module")
def runs() -> Runs:
    """The committed records of fold 0 by method, with a few rows of their curves."""
    found = {}
    for record in mini_records():
        if record.config["fold"] == 0 and record.config["method"]["name"] in ("hycam", "lora", "full_ft"):
            fields = json.loads(MINI.record(record.run_id).read_text())
            fields["curves"] = {name: rows[:3] for name, rows in fields["curves"].items()}
            found[fields["config"]["method"]["name"]] = fields
    assert set(found) == {"hycam", "lora", "full_ft"}
    return found


def places(value: Any, depth: int, at: Path_ = ()) -> Iterator[Path_]:
    """Every field down to a depth, of a list the first entry."""
    inner = list(value.items()) if isinstance(value, dict) else list(enumerate(value))[:1]
    for key, held in inner:
        yield (*at, key)
        if depth > 1 and isinstance(held, dict | list):
            yield from places(held, depth - 1, (*at, key))


def changed(fields: Fields, place: Path_, value: object) -> Fields:
    """The fields with another value at a place, or without it."""
    found = copy.deepcopy(fields)
    inner: Any = found
    for key in place[:-1]:
        inner = inner[key]
    if value is REMOVED:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return found


def files_of(results: Path, runs: Runs) -> Path:
    """Write the records; the file of HyCAM's."""
    (results / "runs").mkdir()
    for fields in runs.values():
        (results / "runs" / f"{fields['run_id']}.json").write_text(json.dumps(fields))
    return results / "runs" / f"{runs['hycam']['run_id']}.json"


def accepted(folder: Path, hycam: Fields, depth: int) -> Iterator[tuple[object, Path_, Fields]]:
    """The changes that are not named as a problem: value, place, and the fields with it there."""
    path = folder / "runs" / f"{hycam['run_id']}.json"
    path.parent.mkdir(parents=True)
    refused = 0
    for value, place in itertools.product(OTHERS, list(places(hycam, depth))):
        fields = changed(hycam, place, value)
        path.write_text(json.dumps(fields))
        collection = read(folder)
        if collection.runs:
            yield value, place, fields
        else:
            refused += 1
            assert [problem.place for problem in collection.problems] == [str(path)]
    assert refused > 300


def report(results: Path, is_drawn: bool) -> None:
    """All that a report makes of records; figures are selected, and drawn where that is asked for."""
    experiments = known_experiments()
    frame = read(results)
    assert not frame.problems
    selection = select(frame, experiments)
    built = build(selection, experiments)
    grids = progress(experiments, row_cells(selection, experiments))
    claims = found(read_published(), gather(selection), experiments.cache)
    means(selection, Console(file=io.StringIO()))
    samples = sample_texts.read(frame.source, [run.id for run in frame.runs])
    for table in built.tables:
        text.contents(table)
    assert len(frame.scores) > 0
    document(PageContent(source=frame.source, rows=selection.rows, samples=samples, grids=grids, claims=claims))
    if is_drawn:
        write_all(selection, results / "figures", processes=1)
    else:
        assert len(Drawing(selection, results / "figures", experiments.cache, processes=1)._shown) >= len(CATALOGUE)


def check_together(runs: Runs, results: Path, depth: int, is_drawn: bool = False) -> None:
    """For every value: what may hold it holds it at once, the fields of one depth, and the report goes through."""
    path = files_of(results, runs)
    together: dict[tuple[int, int], Fields] = {}
    for value, place, _ in accepted(results / "alone", runs["hycam"], depth):
        key = len(place), next(number for number, other in enumerate(OTHERS) if other is value)
        together[key] = changed(together.get(key, runs["hycam"]), place, value)
    assert {number for length, number in together if length == depth} == set(range(len(OTHERS)))
    for (length, number), fields in together.items():
        path.write_text(json.dumps(fields))
        try:
            report(results, is_drawn)
        except Exception as error:
            raise AssertionError(f"fields of depth {length} that hold {OTHERS[number]!r} end the report") from error


def test_a_field_of_another_kind_is_named_or_goes_through(runs: Runs, tmp_path: Path) -> None:
    """Every field at the top and below it removed, null, and of every other kind: never a traceback."""
    check_together(runs, tmp_path, depth=2)


@pytest.mark.slow
def test_deeper_fields_of_another_kind_are_drawn_too(runs: Runs, tmp_path: Path) -> None:
    """The figures of what was accepted are drawn."""
    check_together(runs, tmp_path, depth=4, is_drawn=True)


@pytest.mark.slow
def test_each_field_of_another_kind_goes_through_alone(runs: Runs, tmp_path: Path) -> None:
    """One after the other, so that none hides what another does."""
    path = files_of(tmp_path, runs)
    for value, place, fields in accepted(tmp_path / "alone", runs["hycam"], depth=3):
        path.write_text(json.dumps(fields))
        try:
            report(tmp_path, is_drawn=False)
        except Exception as error:
            raise AssertionError(f"{place} = {value!r} ends the report") from error
