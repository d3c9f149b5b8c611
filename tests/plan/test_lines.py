"""Lines and statuses."""

from pathlib import Path

import pytest

from hycam_exp.config.grid import expand, runs
from hycam_exp.plan import forecast, suggestions
from hycam_exp.plan import lines as lines_module
from hycam_exp.plan.devices import GPUS
from hycam_exp.plan.lines import PlanLine, lines
from hycam_exp.plan.printout import as_json
from hycam_exp.records.store import Store
from tests.made import made


def plan(tmp_path: Path, *overrides: str) -> list[PlanLine]:
    cells = expand([f"paths.results={tmp_path}/r", f"paths.outputs={tmp_path}/o", *overrides])
    return lines(cells, runs(cells), GPUS["h100_80gb"], 0.4)


def test_folds_and_seeds_are_one_line(tmp_path):
    """Two methods and two folds are two lines of two cells, all missing, each with an id of its own."""
    found = plan(tmp_path, "method=lora,hycam", "fold=0,1")
    assert [(line.method, line.count("missing")) for line in found] == [("lora", 2), ("hycam", 2)]
    assert len({cell.run_id for line in found for cell in line.cells}) == 4


def test_a_remedy_is_looked_for_once(tmp_path, monkeypatch):
    """What the remedied forecast runs is what the forecast proposes, for the verdict and for the plan as JSON."""
    looked = []

    def counted(*arguments):
        looked.append(arguments)
        return suggestions.remedy(*arguments)

    for module in (forecast, lines_module):
        monkeypatch.setattr(module, "remedy", counted, raising=False)
    (line,) = found = plan(tmp_path, "model=llama3_8b", "method=full_ft")
    assert len(looked) == 1
    assert line.remedied is not None
    assert line.remedied.fits
    (row,) = as_json(found, GPUS["h100_80gb"], 0.4)["lines"]
    assert row["remedy"] == str(line.forecast.remedy)
    assert row["remedy"].startswith("trainer=fsdp trainer.devices=")


def test_settings_tell_lines_apart(tmp_path):
    """A swept temperature makes a line each."""
    found = plan(tmp_path, "method.tau=0.1,0.5")
    assert [line.overrides[-1] for line in found] == ["method.tau=0.1", "method.tau=0.5"]


def test_failed_unreadable_and_missing(tmp_path):
    """A failure is told with its message, a truncated record with its name."""
    (line,) = plan(tmp_path, "fold=0,1,2")
    store = Store(tmp_path / "r" / "runs", tmp_path / "o")
    first, second, _ = (cell.run_id or "" for cell in line.cells)
    store.folder(first).mkdir(parents=True)
    store.add_failure(first, ValueError("no luck"))
    store.record_path(second).parent.mkdir(parents=True)
    store.record_path(second).write_text('{"schema_version": 1')
    (line,) = plan(tmp_path, "fold=0,1,2")
    assert [cell.status for cell in line.cells] == ["failed", "unreadable", "missing"]
    assert line.cells[0].reason == "no luck"
    assert f"{second}.json" in (line.cells[1].reason or "")
    assert [cell.runs for cell in line.cells] == [True, False, True]


def test_a_cell_that_failed_twice_is_not_tried_again(tmp_path):
    """As the launcher counts: the first failure is tried again, the second only with retry=true."""
    (line,) = plan(tmp_path)
    store = Store(tmp_path / "r" / "runs", tmp_path / "o")
    found = []
    for _ in range(2):
        store.add_failure(line.cells[0].run_id or "", ValueError("no luck"))
        found += [plan(tmp_path)[0].cells[0], plan(tmp_path, "retry=true")[0].cells[0]]
    assert {cell.status for cell in found} == {"failed"}
    assert [cell.runs for cell in found] == [True, True, False, True]


def test_a_record_is_a_done_cell(tmp_path):
    """Even after a failure."""
    (line,) = plan(tmp_path)
    identifier = line.cells[0].run_id or ""
    store = Store(tmp_path / "r" / "runs", tmp_path / "o")
    store.record_path(identifier).parent.mkdir(parents=True)
    store.write(made(run_id=identifier))
    assert plan(tmp_path)[0].count("done") == 1


def test_absent_data_leave_the_status_open(tmp_path):
    """No id, and the reason."""
    (line,) = plan(tmp_path, "data=auto_cot", "data.root=nowhere")
    (cell,) = line.cells
    assert (cell.status, cell.run_id) == ("unknown data", None)
    assert "nowhere" in (cell.reason or "")


def test_a_backbone_of_unknown_size_is_an_error(tmp_path):
    """The plan does not ask the hub."""
    with pytest.raises(ValueError, match=r"model.path=nowhere: no config.json"):
        plan(tmp_path, "model=local", "model.path=nowhere")
