"""Which runs a line of a figure is over, and what it is called."""

from dataclasses import asdict

import pytest

from hycam_exp.config.compose import compose
from hycam_exp.report.figures import lines
from hycam_exp.report.figures.palette import METHODS
from tests.report.figures.made import record
from tests.report.toy import rows_of


def over(made):
    return {found.label: ([lines.place(run)[:2] for run in found.runs], found.over) for found in made}


def test_a_line_is_over_folds_that_all_have_as_many_seeds():
    """Further seeds of one fold are in no line over folds: of that fold the seed counts that the others have."""
    records = [record(fold=0, seed=0), *(record(fold=fold, seed=3) for fold in (1, 0))]
    assert over(lines.over_folds(rows_of(records))) == {"HyCAM": ([(0, 3), (1, 3)], "fold")}


def test_a_curve_over_seeds_is_of_one_fold():
    """Of that with the most runs, for every setting with several seeds there; others are no lines."""
    records = [record(fold=0, seed=seed) for seed in (200, 100)] + [record(fold=1, seed=seed) for seed in (1, 2, 3)]
    lora = [record("lora", fold=fold, seed=seed) for fold, seed in ((0, 4), (0, 5), (1, 6), (0, 7))]
    assert over(lines.over_seeds(rows_of([*records, *lora]))) == {
        "LoRA": ([(0, 4), (0, 5), (0, 7)], "seed"),
        "HyCAM (2 seeds)": ([(0, 100), (0, 200)], "seed"),
    }
    assert lines.over_seeds(rows_of([record(fold=0), record(fold=1)])) == lines.over_seeds([]) == []


def test_seeds_of_a_fold_are_one_unit():
    """A mean and a spread are over folds, each the mean over its seeds; the curve is, too."""
    (found,) = lines.over_folds(
        rows_of(record(fold=f, seed=10 * k + f, ppl=2.0 + f + k) for f in (0, 1) for k in (0, 1))
    )
    assert found.values("ppl") == [2.5, 3.5]
    assert lines.basis([found]) == "2 folds of 2 trainings"
    assert [len(unit) for unit in found.units] == [2, 2]
    (single,) = lines.over_folds(rows_of(record(fold=f) for f in (0, 1)))
    assert lines.curve(found, "validation") == lines.curve(single, "validation")


def test_a_sweeps_values_are_no_methods_of_their_own():
    """Beside the values of a sweep only that of the method's file is compared, without naming it."""
    records = [record(num_specialized=number) for number in (1, 5, 8)] + [record(tau=2.0), record("lora")]
    assert over(lines.over_folds(rows_of(records))) == {"LoRA": ([(0, 0)], "fold"), "HyCAM": ([(0, 0)], "fold")}


def test_a_switch_to_the_released_code_is_no_method_of_its_own():
    """What conf/released changes has a table of its own: the paper's form alone is a line, and is named as ever."""
    switched = record(modulate="residual_stream"), record(routing={"hard": True, "noise_in_eval": True})
    own = asdict(compose("method=hycam").method)
    paper = record(**{field: own[field] for field in ("modulate", "routing")})
    assert over(lines.over_folds(rows_of([paper, *switched]))) == {"HyCAM": ([(0, 0)], "fold")}


def test_a_long_name_is_a_file_name():
    """However many fields set a line apart, its file can be written, and no two are the same."""
    records = [record("mine", **{f"field_{number}": "x" * 40 + end for number in range(5)}) for end in "ab"]
    names = [found.file_name for found in lines.over_folds(rows_of(records))]
    assert all(len(name) < 150 for name in names)
    assert len(set(names)) == 2


def test_a_users_own_method_has_a_line():
    """A method without a file in conf/ keeps its name, gets a look, and its settings stay apart."""
    records = [record("mine", tau=tau, rank=rank) for tau, rank in ((1.0, 2), (2.0, 4))]
    assert [found.label for found in lines.over_folds(rows_of(records))] == ["mine, rank=2", "mine, rank=4"]


def test_values_are_whole_or_none():
    """A run without the score leaves the line without values: never averaged over silently."""
    (found,) = lines.over_folds(rows_of([record(fold=0), record(fold=1, ppl=None)]))
    assert found.values("ppl") is None
    assert found.values("ppl_before") == [8.0, 8.0]
    assert lines.scored(rows_of([record(fold=0), record(fold=1, ppl=None)])) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([{}], [""]),
        (
            [{"recipe.clip": 1.0, "recipe.epochs": 2}, {"recipe.clip": None, "recipe.epochs": 3}],
            ["clip=1.0", "clip=null"],
        ),
        ([{"a": 1, "b.c": 2}, {"a": 1, "b.c": 3}], ["a=1, c=2", "a=1, c=3"]),
        ([{"a": 1}, {"a": 1, "b": 2}], ["a=1", "a=1, b=2"]),
        ([{"m.layers": [0, 1], "m.rank": n} for n in (2, 4)], ["layers=[0, 1], rank=2", "layers=[0, 1], rank=4"]),
        ([{"m.prompt": "a, b=c"}, {"m.prompt": "a, b=d"}], ["prompt=a, b=c", "prompt=a, b=d"]),
        ([{"a.name": "x", "b.name": n} for n in "yz"], ["name=x, name=y", "name=x, name=z"]),
        ([{"a.x": 1, "b.y": None}, {"a.x": None, "b.x": 1}], ["x=1", "x=null"]),
        ([{"a.x": 1}, {"b.x": 1}], ["a.x=1", "b.x=1"]),
    ],
)
def test_as_little_as_tells_apart(settings, expected):
    """The fewest leading values that differ everywhere, each whole, lists and texts with commas too."""
    assert lines.short(settings) == expected


def test_a_list_tells_lines_apart():
    """A label and the data name its values whole."""
    records = [record("mine", layers=layers) for layers in ([0, 1], [0, 2])]
    found = lines.over_folds(rows_of(records))
    assert [one.label for one in found] == ["mine, layers=[0, 1]", "mine, layers=[0, 2]"]
    assert [one.key[1] for one in found] == ["method.layers=[0, 1]", "method.layers=[0, 2]"]


@pytest.mark.parametrize(
    ("counts", "over", "text"),
    [
        ([5, 5], ["fold"] * 2, "5 folds"),
        ([1], ["seed"], "1 seed"),
        ([3, 5], ["fold"] * 2, "3 to 5 folds"),
        ([5, 3], ["fold", "seed"], "5 folds or 3 seeds"),
    ],
)
def test_what_a_mean_is_over_is_said(counts, over, text):
    """The number of folds or seeds, and the range where lines differ."""
    made = []
    for number, unit in zip(counts, over, strict=True):
        records = [record(**({"fold": n} if unit == "fold" else {"seed": n})) for n in range(number)]
        (row,) = rows_of(records)
        made.append(lines.FigureLine(row=row, tail="", look=METHODS["lora"], over=unit))
    assert lines.basis(made) == text


def test_a_missing_fold_is_said():
    """A line with fewer runs than another says how many it has."""
    records = [*(record(fold=fold) for fold in range(3)), *(record("lora", fold=fold) for fold in range(2))]
    assert [found.label for found in lines.over_folds(rows_of(records))] == ["LoRA (2 folds)", "HyCAM"]
