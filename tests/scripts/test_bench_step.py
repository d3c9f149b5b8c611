"""What is measured of a step."""

from dataclasses import replace

import pytest

from scripts import bench_step as bench

SMALL = bench.Sizes(
    width=32, heads=4, intermediate=48, blocks=1, vocabulary=64, rows=2, length=8, dtype="float32"
)  # fmt: skip


def test_ratios_are_those_of_the_same_round():
    """A machine that is slower in one round slows both, and the median takes no side."""
    times = {"lora": [1.0, 10.0, 2.0], "hycam": [1.1, 11.0, 2.6]}
    assert bench.ratios(times, "lora") == {"lora": 1.0, "hycam": 1.1}


def test_every_method_has_its_step_its_memory_and_its_tokens(monkeypatch):
    """LoRA's own ratio is one, and so is the backbone's; the page has a line for each method."""
    monkeypatch.setattr(bench, "RANK", 4)
    monkeypatch.setattr(bench, "BATCHES", (1, 2))
    monkeypatch.setattr(bench, "TOKENS", 1)
    methods = ["full_ft", "lora", "hycam", "mtl_lora"]
    found = bench.measure(methods, SMALL, "cpu", 1)
    assert list(found["training"]) == methods
    assert (found["training"]["lora"]["step_of_lora"], found["decoding"]["backbone"]) == (
        1.0,
        {"batch_1": 1.0, "batch_2": 1.0},
    )
    assert all(of["kept_mib"] >= 0 and of["step_milliseconds"] > 0 for of in found["training"].values())
    assert bench.page([found]).count("\n| HyCAM | ") == 1


def test_what_is_kept_is_what_backward_needs(monkeypatch):
    """Full fine-tuning keeps the input of every layer; twice the rows keep twice as much, whatever the weights."""
    monkeypatch.setattr(bench, "RANK", 4)
    tokens, width = SMALL.rows * SMALL.length, SMALL.width
    once = bench.kept(bench.subject("full_ft", SMALL, "cpu"))
    assert once > 4 * tokens * (7 * width + 3 * SMALL.intermediate)
    twice = bench.kept(bench.subject("full_ft", replace(SMALL, rows=2 * SMALL.rows), "cpu"))
    assert twice == pytest.approx(2 * once, rel=0.05)


def test_without_lora_there_is_nothing_to_compare_with(monkeypatch, capsys):
    """One line says so."""
    monkeypatch.setattr("sys.argv", ["bench_step", "--methods", "hycam"])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code == 2
    assert "--methods: lora must be among them" in capsys.readouterr().err
