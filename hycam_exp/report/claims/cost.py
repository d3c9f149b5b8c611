"""The paper's claims about cost: trained parameters by closed form, seconds and memory of our runs, convergence."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from hycam_exp.config.dimensions import dimensions_of
from hycam_exp.report.cache import Cache
from hycam_exp.report.claims.evidence import BASELINES, BackboneEvidence
from hycam_exp.report.claims.statements import HOLDS, Claim, Finding, listed, told, unknown
from hycam_exp.report.frame import FinishedRun
from hycam_exp.report.select import OURS, SelectedRow

SHOWN = ("llama2_7b", "qwen2_5_14b")
"""The backbones whose trained parameters are shown."""
_SHARED_ONLY = "hycam_shared_only"
SHARED = ("strategy", "devices", "num_nodes", "offload", "micro_batch_size", "activation_checkpointing")
"""Of the trainer: what seconds and memory depend on, and so must be one value where they are compared."""
Trained = Mapping[str, Mapping[str, int]]
"""Trained parameters by backbone and method."""


def claims(cache: Cache) -> list[Claim]:
    """What the paper says of cost."""
    closed: Trained = cache.get("settings", "trained parameters", parameters)
    return [
        _parameters(
            closed,
            "fraction_of_full",
            "HyCAM updates a small fraction of the parameters of full fine-tuning",
            "4.2",
            "trained parameters over those of full fine-tuning: below a tenth",
            "full_ft",
            1 / 10,
        ),
        _parameters(
            closed,
            "parameters_against_lora",
            "minimal additional trainable parameters",
            "introduction",
            "no more trained parameters than LoRA on all linear layers at the same rank",
            "lora",
            1.0 + 1e-9,
        ),
        Claim(
            id="faster_convergence",
            statement="HyCAM achieves lower loss more rapidly than the baselines",
            where="introduction, 4.6",
            definition="the smallest area under the training loss, up to where the first method of that fold ends, and"
            " the fewest steps to the validation loss that all of them reach in that fold; means over folds; one row of"
            " each method, that which is most as its YAML sets it",
            published="a figure without numbers",
            of_backbone=_convergence,
        ),
        Claim(
            id="computational_efficiency",
            statement="HyCAM is computationally more efficient than full fine-tuning",
            where="4.2",
            definition="fewer seconds of training and a lower peak memory than full fine-tuning; LoRA is shown beside"
            " it",
            published="no time and no memory is given",
            of_backbone=_resources,
        ),
    ]


def parameters() -> dict[str, dict[str, int]]:
    """Trained parameters of published backbones under the paper's recipe, without loading anything."""
    from hycam_exp.config.grid import runs

    places = [(model, method) for model in SHOWN for method in ("full_ft", "lora", OURS, _SHARED_ONLY)]
    found: dict[str, dict[str, int]] = {model: {} for model in SHOWN}
    for (model, method), run in zip(places, runs([[f"model={m}", f"method={n}"] for m, n in places]), strict=True):
        assert run.model.architecture is not None
        found[model][method] = run.method.num_parameters(dimensions_of(run.model.architecture))
    return found


def _ratio(trained: Mapping[str, float], baseline: str, largest: float) -> Finding:
    """HyCAM's parameters over the baseline's are below `largest`."""
    share = trained[OURS] / trained[baseline]
    text = f"{trained[OURS]:,.0f} over {trained[baseline]:,.0f} is {share:.3g}"
    return told(share < largest, text, {**trained, "ratio": share})


def _parameters(
    closed: Trained, id: str, statement: str, where: str, definition: str, baseline: str, largest: float
) -> Claim:
    pairs = {model: {name: float(trained[name]) for name in (OURS, baseline)} for model, trained in closed.items()}
    found = {model: _ratio(trained, baseline, largest) for model, trained in pairs.items()}
    shared_alone = ", ".join(f"{trained[_SHARED_ONLY]:,} on {model}" for model, trained in closed.items())
    text = "; ".join(f"{model}: {finding.text}" for model, finding in found.items())
    published = told(
        all(finding.verdict == HOLDS for finding in found.values()),
        f"{text}; the shared CAM alone, whatever the rank: {shared_alone}",
        {f"{model}_{name}": value for model, f in found.items() for name, value in f.values.items()},
    )

    def check(backbone: BackboneEvidence) -> Finding:
        beside = backbone.beside_hycam((OURS, baseline))
        trained = {name: float(row.runs[0].parameters) for name, row in beside.items()}
        return _ratio(trained, baseline, largest) if baseline in trained else unknown(f"{baseline} was not run")

    return Claim(
        id=id,
        statement=statement,
        where=where,
        definition=definition + "; published: by closed form at rank 64 (the paper does not state HyCAM's rank)",
        published=lambda _: published,
        of_backbone=check,
    )


def mean_training_loss(run: FinishedRun, steps: float) -> float:
    """The area under the training loss over the first steps, divided by them; a row, of one step or the mean of a
    window, stands for the steps since the last.
    """
    rows = run.curve("train")
    ends = [min(row["step"], steps) for row in rows]
    lengths = [max(end - before, 0) for before, end in itertools.pairwise([0, *ends])]
    return fmean((row["loss"] for row in rows), lengths)


def steps_to(run: FinishedRun, loss: float) -> float | None:
    """The step where the validation loss first reaches a value, linear between validations; None if it never does."""
    before: tuple[float, float] | None = None
    for row in run.curve("validation"):
        step, value = row["step"], row["loss"]
        if value <= loss:
            if before is None or before[1] == value:
                return float(step)
            return before[0] + (before[1] - loss) / (before[1] - value) * (step - before[0])
        before = (step, value)
    return None


def _convergence(backbone: BackboneEvidence) -> Finding:
    beside = backbone.beside_hycam((OURS, *BASELINES))
    rows = list(beside.values())
    if len(rows) < 2 or not all(_has_curves(run) for row in rows for run in row.runs):
        return unknown("no curves of a baseline")
    areas = {name: _over_folds(row, rows, _area) for name, row in beside.items()}
    steps = {name: _over_folds(row, rows, _steps) for name, row in beside.items()}
    first = all(found[OURS] < found[name] for found in (areas, steps) for name in found if name != OURS)
    text = f"mean training loss: {listed(areas, '.3f', '')}; steps to the loss: {listed(steps, '.1f', '')}"
    several = {name for name in beside if len(backbone.rows([name])) > 1}
    if chosen := ", ".join(row.label for name, row in beside.items() if name in several):
        text += f"; of several rows that most as its YAML sets it: {chosen}"
    values = {f"area {name}": area for name, area in areas.items()}
    return told(first, text, values | {f"steps {name}": number for name, number in steps.items()})


def _has_curves(run: FinishedRun) -> bool:
    train = run.curve("train")
    return bool(train and train[-1]["step"] > 0 and run.curve("validation"))


def _over_folds(
    row: SelectedRow, rows: Sequence[SelectedRow], of_run: Callable[[FinishedRun, Sequence[FinishedRun]], float]
) -> float:
    """A number of each run beside all runs of its fold, as the mean over seeds, then over folds."""
    found = []
    for fold, runs in row.by_fold.items():
        all_runs = [run for other in rows for run in other.by_fold[fold]]
        found.append(fmean(of_run(run, all_runs) for run in runs))
    return fmean(found)


def _area(run: FinishedRun, of_fold: Sequence[FinishedRun]) -> float:
    """The mean training loss over the steps that all runs of a fold have."""
    return mean_training_loss(run, min(other.curve("train")[-1]["step"] for other in of_fold))


def _steps(run: FinishedRun, of_fold: Sequence[FinishedRun]) -> float:
    """The steps to the validation loss that all runs of a fold reach."""
    steps = steps_to(run, max(min(row["loss"] for row in other.curve("validation")) for other in of_fold))
    assert steps is not None, "its own lowest loss is no higher"
    return steps


def _resources(backbone: BackboneEvidence) -> Finding:
    rows = backbone.beside_hycam((OURS, "full_ft", "lora"))
    runs = [run for row in rows.values() for run in row.runs]
    if not {"full_ft", "lora"} <= rows.keys() or not all(map(_is_measured, runs)):
        return unknown("full fine-tuning or LoRA was not run, or its cost not measured")
    if len({(run.device, run.memory_kind) for run in runs}) > 1:
        return unknown("measured on different hardware")
    if unlike := [name for name in SHARED if len({str(run.trainer_field(name)) for run in runs}) > 1]:
        return unknown(f"measured with different {', '.join(unlike)}")
    measures: dict[str, Callable[[FinishedRun], float]] = {
        "seconds of training": lambda run: float(run.train_seconds or 0),
        f"peak memory in MB ({runs[0].memory_kind})": lambda run: float(run.memory or 0) / 1e6,
    }
    of_measure = {
        name: {
            method: fmean(fmean(map(measure, runs)) for runs in row.by_fold.values()) for method, row in rows.items()
        }
        for name, measure in measures.items()
    }
    cheaper = all(values[OURS] < values["full_ft"] for values in of_measure.values())
    text = "; ".join(f"{name}: {listed(values, '.1f', '')}" for name, values in of_measure.items())
    flat = {f"{name} {method}": v for name, values in of_measure.items() for method, v in values.items()}
    return told(cheaper, f"{text}; on {runs[0].device}", flat)


def _is_measured(run: FinishedRun) -> bool:
    return run.train_seconds is not None and run.memory is not None and run.device is not None
