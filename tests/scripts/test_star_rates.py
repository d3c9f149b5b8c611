"""The simulation behind docs/statistics.md; what it finds is tested in tests/report/test_statistics.py."""

import numpy as np

from scripts.star_rates import BEYOND, NULLS, World, noise, report


def test_a_line_for_every_world_and_effect() -> None:
    """What the command prints has every null world, the one beyond the test's supposition, and the powers."""
    lines = list(report(tables=20))
    assert all(any(line.startswith(f"| {world.name} |") for line in lines) for world in (*NULLS, BEYOND))
    assert "| 2 | 91% | 29% | 73% | 15% |" in lines


def test_noise_has_the_correlations_that_it_says() -> None:
    """Unit variance; folds of a method, and columns of a table, correlated as told; methods not."""
    world = World(name="", columns=2, correlation=0.5, column_correlation=0.8)
    drawn = noise(np.random.default_rng(0), world, 100_000)
    same = np.corrcoef(drawn[:, 0, 0, 0], drawn[:, 0, 0, 1])[0, 1]
    columns = np.corrcoef(drawn[:, 0, 0, 0], drawn[:, 1, 0, 0])[0, 1]
    methods = np.corrcoef(drawn[:, 0, 0, 0], drawn[:, 0, 1, 0])[0, 1]
    assert np.allclose([drawn.var(), same, columns, methods], [1.0, 0.5, 0.8 * 0.5, 0.0], atol=0.02)
