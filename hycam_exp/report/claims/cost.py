"""The paper's claims about cost: trained parameters by closed form, seconds and memory of our runs, convergence."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from hycam_exp.config import TrainerSettings
from hycam_exp.dimensions import dimensions_of
from hycam_exp.report.baselines import BASELINES
from hycam_exp.report.claims.evidence import Backbone, Evidence
from hycam_exp.report.claims.scoreboard import OURS
from hycam_exp.report.claims.scores import of_backbones
from hycam_exp.report.claims.statement import UNKNOWN, Finding, Statement, listed, verdict
from hycam_exp.report.experiments import Memo
from hycam_exp.report.select import Summary
from hycam_exp.runs import RunRecord

SHOWN = ("llama2_7b", "qwen2_5_14b")
"""The backbones whose trained parameters are shown."""
_SHARED_ONLY = "hycam_shared_only"
SHARED = ("strategy", "devices", "num_nodes", "offload", "micro_batch_size", "activation_checkpointing")
"""Of the trainer: what seconds and memory depend on, and so must be one value where they are compared."""


Trained = Mapping[str, Mapping[str, int]]
"""Trained parameters by backbone and method."""


def statements(evidence: Sequence[Evidence], memo: Memo | None = None) -> list[Statement]:
    """What the paper says of cost."""
    closed: Trained = (memo or Memo(None)).get("trained parameters", parameters)
    return [
        _small_fraction(evidence, closed), _as_light_as_lora(evidence, closed), _convergence(evidence),
        _resources(evidence),
    ]  # fmt: skip


def parameters() -> dict[str, dict[str, int]]:
    """Trained parameters of published backbones under the paper's recipe, without loading anything."""
    from hycam_exp.grid import runs

    places = [(model, method) for model in SHOWN for method in ("full_ft", "lora", OURS, _SHARED_ONLY)]
    found: dict[str, dict[str, int]] = {model: {} for model in SHOWN}
    for (model, method), run in zip(places, runs([[f"model={m}", f"method={n}"] for m, n in places]), strict=True):
        assert run.model.architecture is not None
        found[model][method] = run.method.num_parameters(dimensions_of(run.model.architecture))
    return found


def _trained(summary: Summary) -> float:
    return float(summary.records[0].counts["parameters_trainable"])


def _ratio(trained: dict[str, float], baseline: str, largest: float) -> Finding:
    """HyCAM's parameters over the baseline's are below `largest`."""
    share = trained[OURS] / trained[baseline]
    text = f"{trained[OURS]:,.0f} over {trained[baseline]:,.0f} is {share:.3g}"
    return Finding(verdict=verdict(share < largest), text=text, values={**trained, "ratio": share})


def _parameters(
    evidence: Sequence[Evidence],
    closed: Trained,
    id: str,
    statement: str,
    where: str,
    definition: str,
    baseline: str,
    largest: float,
) -> Statement:
    pairs = {model: {name: float(trained[name]) for name in (OURS, baseline)} for model, trained in closed.items()}
    found = {model: _ratio(trained, baseline, largest) for model, trained in pairs.items()}

    def check(backbone: Backbone) -> Finding:
        trained = {name: _trained(s) for name, s in backbone.beside_hycam((OURS, baseline)).items()}
        if baseline not in trained:
            return Finding(verdict=UNKNOWN, text=f"{baseline} was not run")
        return _ratio(trained, baseline, largest)

    return Statement(
        id=id,
        statement=statement,
        where=where,
        definition=definition + "; published: by closed form at rank 64 (the paper does not state HyCAM's rank)",
        published=Finding(
            verdict=verdict(all(finding.verdict == verdict(True) for finding in found.values())),
            text="; ".join(f"{model}: {finding.text}" for model, finding in found.items())
            + f"; the shared CAM alone, whatever the rank: {_shared_alone(closed)}",
            values={f"{model}_{name}": value for model, f in found.items() for name, value in f.values.items()},
        ),
        ours=of_backbones(evidence, check),
    )


def _shared_alone(closed: Trained) -> str:
    return ", ".join(f"{trained[_SHARED_ONLY]:,} on {model}" for model, trained in closed.items())


def _small_fraction(evidence: Sequence[Evidence], closed: Trained) -> Statement:
    return _parameters(
        evidence,
        closed,
        "fraction_of_full",
        "HyCAM updates a small fraction of the parameters of full fine-tuning",
        "4.2",
        "trained parameters over those of full fine-tuning: below a tenth",
        "full_ft",
        1 / 10,
    )


def _as_light_as_lora(evidence: Sequence[Evidence], closed: Trained) -> Statement:
    return _parameters(
        evidence,
        closed,
        "parameters_against_lora",
        "minimal additional trainable parameters",
        "introduction",
        "no more trained parameters than LoRA on all linear layers at the same rank",
        "lora",
        1.0 + 1e-9,
    )


def mean_training_loss(record: RunRecord, steps: float) -> float:
    """The area under the training loss over the first steps, divided by them; a row, of one step or the mean of a
    window, stands for the steps since the last.
    """
    ends = [min(row["step"], steps) for row in record.curves["train"]]
    lengths = [max(end - before, 0) for before, end in itertools.pairwise([0, *ends])]
    return fmean((row["loss"] for row in record.curves["train"]), lengths)


def steps_to(record: RunRecord, loss: float) -> float | None:
    """The step where the validation loss first reaches a value, linear between validations; None if it never does."""
    before: tuple[float, float] | None = None
    for row in record.curves["validation"]:
        step, value = row["step"], row["loss"]
        if value <= loss:
            if before is None or before[1] == value:
                return float(step)
            return before[0] + (before[1] - loss) / (before[1] - value) * (step - before[0])
        before = (step, value)
    return None


def _convergence(evidence: Sequence[Evidence]) -> Statement:
    def check(backbone: Backbone) -> Finding:
        beside = backbone.beside_hycam((OURS, *BASELINES))
        settings = list(beside.values())
        if len(settings) < 2 or not all(map(_has_curves, _records(settings))):
            return Finding(verdict=UNKNOWN, text="no curves of a baseline")
        areas = {name: _area(s, settings) for name, s in beside.items()}
        steps = {name: _steps(s, settings) for name, s in beside.items()}
        first = all(found[OURS] < found[name] for found in (areas, steps) for name in found if name != OURS)
        text = f"mean training loss: {listed(areas, '{:.3f}')}; steps to the loss: {listed(steps, '{:.1f}')}"
        text += (
            f"; of several settings the one most like HyCAM's: {chosen}"
            if (chosen := _chosen(backbone, beside))
            else ""
        )
        values = {f"area {name}": area for name, area in areas.items()}
        return Finding(verdict=verdict(first), text=text, values=values | {f"steps {n}": s for n, s in steps.items()})

    return Statement(
        id="faster_convergence",
        statement="HyCAM achieves lower loss more rapidly than the baselines",
        where="introduction, 4.6",
        definition="the smallest area under the training loss, up to where the first method of that fold ends, and the"
        " fewest steps to the validation loss that all of them reach in that fold; means over folds; one setting of"
        " each method, that which is most like HyCAM's",
        published=Finding(verdict=UNKNOWN, text="a figure without numbers"),
        ours=of_backbones(evidence, check),
    )


def _chosen(backbone: Backbone, beside: Mapping[str, Summary]) -> str:
    """The settings that stand for methods which were run in several."""
    several = {name for name in beside if len(backbone.settings([name])) > 1}
    return ", ".join(s.label for name, s in beside.items() if name in several)


def _has_curves(record: RunRecord) -> bool:
    train = record.curves.get("train", [])
    return bool(train and train[-1]["step"] > 0 and record.curves.get("validation"))


def _area(summary: Summary, settings: Sequence[Summary]) -> float:
    """The mean training loss over the steps of a fold that all settings have, as the mean over folds."""
    shared = [
        min(s.records[fold].curves["train"][-1]["step"] for s in settings) for fold in range(len(summary.records))
    ]
    return fmean(map(mean_training_loss, summary.records, shared))


def _steps(summary: Summary, settings: Sequence[Summary]) -> float:
    """The steps to the validation loss that all settings reach in a fold, as the mean over folds."""
    found = []
    for fold, record in enumerate(summary.records):
        lowest = [min(row["loss"] for row in s.records[fold].curves["validation"]) for s in settings]
        steps = steps_to(record, max(lowest))
        assert steps is not None
        found.append(steps)
    return fmean(found)


def _records(settings: Sequence[Summary]) -> list[RunRecord]:
    return [record for summary in settings for record in summary.records]


def _resources(evidence: Sequence[Evidence]) -> Statement:
    def check(backbone: Backbone) -> Finding:
        settings = backbone.beside_hycam((OURS, "full_ft", "lora"))
        records = _records(list(settings.values()))
        if not {"full_ft", "lora"} <= settings.keys() or not all(map(_measured, records)):
            return Finding(verdict=UNKNOWN, text="full fine-tuning or LoRA was not run, or its cost not measured")
        if len({(_device(r), r.cost["peak_memory"]["kind"]) for r in records}) > 1:
            return Finding(verdict=UNKNOWN, text="measured on different hardware")
        if unlike := [name for name in SHARED if len({_trained_with(r, name) for r in records}) > 1]:
            return Finding(verdict=UNKNOWN, text=f"measured with different {', '.join(unlike)}")
        measures: dict[str, Callable[[RunRecord], float]] = {
            "seconds of training": lambda r: float(r.cost["seconds"]["train"]),
            f"peak memory in MB ({records[0].cost['peak_memory']['kind']})": lambda r: (
                r.cost["peak_memory"]["bytes"] / 1e6
            ),
        }
        of_measure = {name: _means(settings, measure) for name, measure in measures.items()}
        cheaper = all(values[OURS] < values["full_ft"] for values in of_measure.values())
        text = "; ".join(f"{name}: {listed(values, '{:.1f}')}" for name, values in of_measure.items())
        flat = {f"{name} {method}": v for name, values in of_measure.items() for method, v in values.items()}
        return Finding(verdict=verdict(cheaper), text=f"{text}; on {_device(records[0])}", values=flat)

    return Statement(
        id="computational_efficiency",
        statement="HyCAM is computationally more efficient than full fine-tuning",
        where="4.2",
        definition="fewer seconds of training and a lower peak memory than full fine-tuning; LoRA is shown beside it",
        published=Finding(verdict=UNKNOWN, text="no time and no memory is given"),
        ours=of_backbones(evidence, check),
    )


def _means(settings: Mapping[str, Summary], measure: Callable[[RunRecord], float]) -> dict[str, float]:
    return {method: fmean(map(measure, s.records)) for method, s in settings.items()}


def _trained_with(record: RunRecord, name: str) -> str:
    """A value of the trainer, as text; the default where a record was written before there was the field."""
    return str(record.config["trainer"].get(name, getattr(TrainerSettings, name, None)))


def _device(record: RunRecord) -> str | None:
    return (record.cost.get("hardware") or {}).get("device")


def _measured(record: RunRecord) -> bool:
    seconds, memory = record.cost.get("seconds") or {}, record.cost.get("peak_memory") or {}
    return seconds.get("train") is not None and memory.get("bytes") is not None and _device(record) is not None
