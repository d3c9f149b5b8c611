"""Where a cell stands, by its record and its failures."""

from hycam_exp.config.settings import compose
from hycam_exp.launch.cell_status import DONE, MISSING, standing, store_of
from hycam_exp.records.store import MAX_FAILURES, Store
from tests.records.test_store import ID, RECORD


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
    stores = [store_of(compose(*paths, *study)) for study in ((), ("study=mini",), ("study=other",))]
    for holder in stores:
        path = holder.write(RECORD)
        assert [standing(ID, store).state for store in stores] == [DONE if s is holder else MISSING for s in stores]
        path.unlink()
    assert stores[1].records == tmp_path / "results" / "studies" / "mini" / "records"
