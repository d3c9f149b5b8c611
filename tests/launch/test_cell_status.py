"""What a grid reads from disk, each thing once, and where a cell stands by its record and its failures."""

from collections import Counter
from pathlib import Path

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.config.identity import run_id
from hycam_exp.config.settings import Run
from hycam_exp.data import sources
from hycam_exp.data.records import content_hash
from hycam_exp.launch import cell_status
from hycam_exp.launch.cell_status import DONE, MISSING, Inputs, standing
from hycam_exp.launch.jobs import jobs_of
from hycam_exp.launch.local import LocalJob
from hycam_exp.models import files
from hycam_exp.plan.devices import GPUS
from hycam_exp.plan.lines import lines
from hycam_exp.records.store import MAX_FAILURES, Store
from tests.records.test_store import ID, RECORD

SMALL = ("data.max_per_task=10", "data.tasks=[mini_passage]")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a file is hashed, a mix read, a folder tried."""
    found: Counter[str] = Counter()
    hashed, read, tried = files.file_hash, sources.read, Store.check_writable

    def file_hash(path: Path) -> str:
        found[path.name] += 1
        return hashed(path)

    def reading(*mix: object) -> sources.Collection:
        found["mix"] += 1
        return read(*mix)  # type: ignore[arg-type]

    def check_writable(store: Store) -> None:
        found["store"] += 1
        tried(store)

    monkeypatch.setattr(files, "file_hash", file_hash)
    monkeypatch.setattr(cell_status.sources, "read", reading)
    monkeypatch.setattr(Store, "check_writable", check_writable)
    return found


def _cells(folder: Path) -> list[list[str]]:
    paths = [f"paths.results={folder}/r", f"paths.outputs={folder}/o"]
    return [[*paths, *SMALL, f"method={m}", f"fold={f}"] for m in ("lora", "hycam") for f in range(5)]


def test_a_grid_reads_everything_once_before_it_starts(tmp_path: Path, counted: Counter[str]) -> None:
    """Of ten cells on one backbone and one mix: each of its files, the mix, and the folders' test."""
    assert len({job.run_id for job in jobs_of(LocalJob, _cells(tmp_path))}) == 10
    assert counted["model.safetensors"] == counted["retention.txt"] == 1
    assert set(counted.values()) == {1}


def test_a_plan_reads_everything_once(tmp_path: Path, counted: Counter[str]) -> None:
    """And tries no folder, as it writes nothing."""
    cells = _cells(tmp_path)
    lines(cells, [compose(*cell) for cell in cells], GPUS["h100_80gb"], 0.4)
    assert counted["model.safetensors"] == 1
    assert set(counted.values()) == {1}
    assert counted["store"] == 0


def _id(run: Run) -> str:
    records = sources.read(run.data.tasks, run.data.root, run.data.fields).records
    return run_id(run, {"data": content_hash(records), **files.contents(run.model)})


def test_ids_are_those_of_the_cells(tmp_path: Path) -> None:
    """Runs that differ in backbone, text or data have the id that each cell gives itself, whatever was read before."""
    text = tmp_path / "text.txt"
    text.write_text("Some text.")
    runs = [
        compose(*SMALL, *changes)
        for changes in (
            [],
            ["model=tiny_qwen2"],
            [f"model.retention_text={text}"],
            ["data.tasks=[mini_reasoning]"],
            ["seed=3"],
        )
    ]
    found = Inputs()
    assert [found.run_id(run) for run in [*runs, *runs]] == [_id(run) for run in runs] * 2
    assert len({found.run_id(run) for run in runs}) == len(runs)


def test_unreadable_data_are_an_error_with_their_reason() -> None:
    """The id needs their hash."""
    with pytest.raises(ValueError, match="nowhere"):
        Inputs().run_id(compose("data=auto_cot", "data.root=nowhere"))


def test_a_cell_is_missing_until_it_has_failed_as_often_as_it_may(tmp_path):
    """State, number of failures and last reason after each failure; tried again but for the last time."""
    store = Store(tmp_path / "results", tmp_path / "outputs")
    found = [standing("cell", store)]
    for number in range(MAX_FAILURES):
        store.add_failure("cell", ValueError(f"reason {number}"))
        found.append(standing("cell", store))
    assert [(s.state, s.failures, s.reason) for s in found] == [
        ("missing", 0, None), ("missing", 1, "reason 0"), ("failed", 2, "reason 1"),
    ]  # fmt: skip
    assert [s.retried for s in found] == [False, True, False]


def test_a_finished_cell_is_looked_for_in_its_study_alone(tmp_path):
    """A record in a study is none of a user's own run, nor of another study's, and the other way round."""
    paths = (f"paths.results={tmp_path / 'results'}", f"paths.outputs={tmp_path / 'outputs'}")
    stores = [Store.of(compose(*paths, *study)) for study in ((), ("study=mini",), ("study=other",))]
    for holder in stores:
        path = holder.write(RECORD)
        assert [standing(ID, store).state for store in stores] == [DONE if s is holder else MISSING for s in stores]
        path.unlink()
    assert stores[1].records == tmp_path / "results" / "studies" / "mini" / "records"
