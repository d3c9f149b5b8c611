"""The published numbers are read from the committed tables."""

from hycam_exp.data import published


def test_tables_are_where_the_package_looks() -> None:
    """All six tables of the paper are there; Table 1's first row is Auto-CoT's."""
    assert sorted(path.stem for path in published.folder().glob("*.csv")) == [
        "table1_datasets", "table2_main", "table3_qwen_sizes", "table4_llama32", "table5_tasks_llama2_7b",
        "table6_ablation_llama2_7b",
    ]  # fmt: skip
    first = published.datasets()[0]
    assert (first.task, first.samples, first.total_tokens, first.average, first.rounding) == (
        "auto_cot", 5816, 943_474, 162.22, 0.005,
    )  # fmt: skip
    assert (first.domain, first.place) == ("Arithmetic and other logical reasoning tasks", "table1_datasets.csv:2")
