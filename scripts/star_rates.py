"""How often a star is given where nothing is better, and how often a real improvement gets one (docs/statistics.md).

`python -m scripts.star_rates [--tables 20000]` prints the rates that the documentation states. A simulated table has
columns (backbone x metric) of five folds; a method's score in a fold is its own mean, noise that all methods of a fold
share, and noise of its own whose correlation between folds is that of shared training data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hycam_exp.config.settings import NUM_FOLDS
from hycam_exp.report.statistics.significance import LEVEL, TEST_SHARE, best, holm, p_values, power
from hycam_exp.runtime.command_line import Parser

SHARED = TEST_SHARE / (1 + TEST_SHARE)
"""The correlation between folds that the corrected resampled t-test supposes: test records over all records, 1/8."""
EFFECTS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class World:
    """What simulated tables look like; `shift` is how much better ours is, in standard deviations of a difference."""

    name: str
    baselines: int = 3
    columns: int = 1
    correlation: float = 0.0
    """Between the folds of one method's noise."""
    column_correlation: float = 0.0
    """Between the columns of a table, as of three metrics of one model."""
    gaps: tuple[float, ...] = ()
    """How much worse the first baselines are than the rest."""
    spreads: tuple[float, ...] = ()
    """Standard deviations of ours and of the baselines, where they are not all 1."""
    skewed: bool = False
    shift: float = 0.0


NULLS = (
    World(name="one fixed baseline", baselines=1),
    World(name="best of 3 equal baselines"),
    World(name="best of 3, two far worse", gaps=(9.0, 9.0)),
    World(name="best of 3, spreads 1 1/3 1 3", spreads=(1.0, 1 / 3, 1.0, 3.0)),
    World(name="best of 3, skewed noise", skewed=True),
    World(name="best of 3, folds correlated", correlation=SHARED),
    World(name="one fixed baseline, folds correlated", baselines=1, correlation=SHARED),
    World(name="15 columns, best of 3", columns=15),
    World(name="15 columns, columns correlated 0.8", columns=15, column_correlation=0.8),
    World(name="15 columns, folds correlated", columns=15, correlation=SHARED),
    World(name="15 columns, one fixed baseline", columns=15, baselines=1),
    World(name="15 columns, one baseline, folds correlated", columns=15, baselines=1, correlation=SHARED),
)
BEYOND = World(name="15 columns, one baseline, correlation 1/2", columns=15, baselines=1, correlation=0.5)
"""More than the corrected test supposes: no test on five folds can tell how much it is."""


def noise(rng: np.random.Generator, world: World, tables: int) -> Array:
    """(tables, columns, methods, folds): noise of unit variance, ours first."""
    methods = world.baselines + 1

    def draw(*shape: int) -> Array:
        if world.skewed:
            return (rng.exponential(size=shape) - 1.0).astype(float)
        return rng.standard_normal(shape)

    own = draw(tables, world.columns, methods, NUM_FOLDS)
    across = draw(tables, 1, methods, NUM_FOLDS)
    own = np.sqrt(1 - world.column_correlation) * own + np.sqrt(world.column_correlation) * across
    training = draw(tables, world.columns, methods, 1)
    return np.sqrt(1 - world.correlation) * own + np.sqrt(world.correlation) * training


def scores(rng: np.random.Generator, world: World, tables: int) -> Array:
    """(tables, columns, methods, folds), higher is better, ours first."""
    values = noise(rng, world, tables) * np.array(world.spreads or (1.0,))[:, None]
    values += rng.standard_normal((tables, world.columns, 1, NUM_FOLDS))  # the folds themselves differ
    for index, gap in enumerate(world.gaps):
        values[:, :, index + 1] -= gap
    values[:, :, 0] += world.shift * np.sqrt(2)  # a difference of two methods has twice the variance of one
    return values


def p_of(values: Array) -> tuple[Array, Array, Array]:
    """Ours against the best baseline by its mean: whether better, p of the t-test and of the corrected one."""
    ours, baselines = values[:, :, 0], values[:, :, 1:]
    chosen = best(baselines.mean(-1), "higher")
    rival = np.take_along_axis(baselines, chosen[..., None, None], axis=2)[:, :, 0]
    differences = ours - rival
    return differences.mean(-1) > 0, p_values(differences), p_values(differences, TEST_SHARE)


def any_star(better: Array, p: Array) -> Array:
    """Which tables have a column that is better with a Holm-corrected p below 0.05."""
    corrected = np.array([holm(list(row)) for row in p], dtype=float)
    return (better & (corrected < LEVEL)).any(1)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Shares of tables."""

    rejected: float
    """In the first column the plain t-test rejects, whichever of the two is better."""
    uncorrected: float
    """Some column has the paper's star."""
    plain: float
    """Some column is starred by the plain t-test with Holm's correction alone."""
    star: float
    """Some column has our star."""


def rates(world: World, tables: int, seed: int = 0) -> Rates:
    """What a table of this world shows, over many tables."""
    better, p, corrected = p_of(scores(np.random.default_rng(seed), world, tables))
    plain, robust = any_star(better, p), any_star(better, corrected)
    assert not (robust & ~plain).any()  # the corrected p is never the smaller one, so our star asks for it alone
    return Rates(
        rejected=float((p[:, 0] < LEVEL).mean()),
        uncorrected=float((better & (p < LEVEL)).any(1).mean()),
        plain=float(plain.mean()),
        star=float(robust.mean()),
    )


def report(tables: int) -> Iterator[str]:
    """The documentation's tables, line by line."""
    yield "| nothing is better | fixed pair rejected | the paper's star | Holm, plain t | our star |"
    yield "| --- | --- | --- | --- | --- |"
    for world in (*NULLS, BEYOND):
        found = rates(world, tables)
        rejected = f"{found.rejected:.1%}" if world.baselines == 1 else "-"
        yield f"| {world.name} | {rejected} | {found.uncorrected:.1%} | {found.plain:.1%} | {found.star:.1%} |"
    yield ""
    yield "| effect | paired t | paired t at 0.05/15 | corrected t | corrected t at 0.05/15 |"
    yield "| --- | --- | --- | --- | --- |"
    for effect in EFFECTS:
        tests = [(level, share) for share in (0.0, TEST_SHARE) for level in (LEVEL, LEVEL / 15)]
        cells = (f"{power(effect, level=level, test_share=share):.0%}" for level, share in tests)
        yield f"| {effect:g} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print them."""
    parser = Parser(prog="python -m scripts.star_rates", description=__doc__)
    parser.add_argument("--tables", type=int, default=20_000, help="simulated tables of each kind")
    for line in report(parser.parse_args().tables):
        print(line)


if __name__ == "__main__":
    main()
