"""The records that the report's benchmark makes."""

from pathlib import Path

from hycam_exp.report.frame import read
from hycam_exp.report.samples import read_table
from hycam_exp.runs import Store
from scripts.bench_report import Length, benchmark, write


def test_made_records_are_read_as_those_of_their_experiment(tmp_path: Path) -> None:
    """One for every cell, without a problem, as long as asked; texts for the first samples of every task alone."""
    runs = benchmark(["table4_llama32"])
    assert len(runs) == 50
    for run in runs[:2]:
        write(run, Store(tmp_path, tmp_path), Length(steps=24, samples=150))
    collection = read(tmp_path)
    assert collection.problems == []
    assert [record.config["fold"] for record in collection.records] == [0, 1]
    record = collection.records[0]
    assert (len(record.curves["train"]), len(record.curves["validation"])) == (24, 12)
    table = read_table(Store(tmp_path, tmp_path).samples_path(record.run_id), ("task", "id", "prediction"))
    assert table.num_rows == 150
    assert table["prediction"].null_count == 50
