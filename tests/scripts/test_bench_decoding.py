"""What is measured of decoding."""

import scripts.bench_decoding as bench


def test_every_method_is_a_ratio_to_the_backbone_of_the_same_rounds(monkeypatch):
    """A row for each batch and method; the backbone's own ratio is one."""
    for name, value in {
        "WIDTH": 48,
        "LAYERS": 1,
        "RANK": 4,
        "PROMPT": 3,
        "TOKENS": 1,
        "BATCHES": (1, 2),
        "ROUNDS": 1,
    }.items():
        monkeypatch.setattr(bench, name, value)
    rows = bench.measure()
    assert [(row["batch"], row["method"]) for row in rows] == [(b, m) for b in (1, 2) for m in bench.METHODS]
    assert all(row["milliseconds"] > 0 for row in rows)
    assert {row["of_backbone"] for row in rows if row["method"] == "backbone"} == {1.0}
