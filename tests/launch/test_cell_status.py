"""Where a cell stands, by its record and its failures."""

from hycam_exp.launch.cell_status import standing
from hycam_exp.records.store import MAX_FAILURES, Store


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
