"""The paper's claims about how things are built and behave: parameters, routing, clusters, cross-validation."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hycam_exp.config.settings import NUM_FOLDS
from hycam_exp.report.cache import Cache
from hycam_exp.report.claims.evidence import BackboneEvidence
from hycam_exp.report.claims.statements import Claim, Finding, listed, told, unknown
from hycam_exp.report.frame import FinishedRun
from hycam_exp.report.published import Published

SHOWN = ("llama2_7b", "llama3_8b", "mistral_7b", "qwen2_5_7b")
ABOUT = 0.05  # how far from 90% is still about 90%
DEAD = 0.05  # of an even share, over all tokens of a layer, as a run's notes have it
TRAIN, TEST = 0.7, 0.1  # of the records of a fold


def shares() -> dict[str, float]:
    """The percentage of the feed-forward layers in all parameters, by the backbones' architectures."""
    from hycam_exp.config.dimensions import dimensions_of
    from hycam_exp.config.grid import runs

    found = {}
    for model, run in zip(SHOWN, runs([[f"model={model}", "method=lora"] for model in SHOWN]), strict=True):
        assert run.model.architecture is not None, "a backbone of the paper"
        sizes = dimensions_of(run.model.architecture)
        of_block = len(sizes.linears) // sizes.num_blocks
        feed_forward = [p for i, p in enumerate(sizes.linears) if i % of_block >= of_block - 3]  # gate, up and down
        found[model] = 100 * sum(a * b for a, b in feed_forward) / sizes.parameters
    return found


def _feed_forward(found: Mapping[str, float]) -> Finding:
    return told(all(abs(share - 90) <= 100 * ABOUT for share in found.values()), listed(found, ".0f"), found)


def smallest_share(run: FinishedRun) -> tuple[float, str] | None:
    """The smallest mean weight of a module over all tokens of a layer, over an even share, and the layer; None for a
    run that does not route."""
    sums: dict[tuple[str, int], Any] = {}
    for row in run.routing:
        weights = row.tokens * np.array(row.weights)
        key = row.layer, len(weights)
        before, tokens = sums.get(key, (0.0, 0.0))
        sums[key] = before + weights, tokens + row.tokens
    shares = [(float(of.min() / tokens * len(of)), layer) for (layer, _), (of, tokens) in sums.items() if tokens]
    return min(shares, default=None)


def _balance(backbone: BackboneEvidence) -> Finding:
    found = {
        fold: min(shares)
        for fold, runs in backbone.hycam.by_fold.items()
        if (shares := [share for run in runs if (share := smallest_share(run))])
    }
    if not found:
        return unknown("no run of HyCAM routes")
    fold, (least, layer) = min(found.items(), key=lambda item: item[1])
    values = {f"fold {fold}": of_fold for fold, (of_fold, _) in found.items()}
    dead = sorted(fold for fold, (of_fold, _) in found.items() if of_fold < DEAD)
    text = f"the least used module has {least:.2g} of an even share ({layer}, fold {fold})"
    return told(not dead, text + (f"; a dead module in fold {', '.join(map(str, dead))}" if dead else ""), values)


def silhouette(points: "np.ndarray[Any, Any]", labels: list[str]) -> float:
    """The mean silhouette of labelled points (Rousseeuw 1987) by Euclidean distance: points (n, 2)."""
    names = sorted(set(labels))
    of_label = np.array([names.index(label) for label in labels])
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))  # (n, n)
    sums = np.stack([distances[:, of_label == k].sum(1) for k in range(len(names))], axis=1)  # (n, labels)
    counts = np.bincount(of_label)
    place = np.arange(len(points))
    own = sums[place, of_label] / np.maximum(counts[of_label] - 1, 1)
    others = sums / counts
    others[place, of_label] = np.inf
    nearest = others.min(1)
    found = (nearest - own) / np.maximum(nearest, own)
    return float(np.where(counts[of_label] > 1, found, 0.0).mean())


def _drawn(path: Path) -> dict[str, float]:
    """The silhouette of the value vectors in a t-SNE figure by its data, with and without CAM."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["kind"] == "value"]
    found = {}
    for state in ("without", "with"):
        of_state = [row for row in rows if row["state"] == state]
        points = np.array([[float(row["x"]), float(row["y"])] for row in of_state])
        found[f"{state} CAM"] = silhouette(points, [row["task"] for row in of_state])
    return found


def _clusters(backbone: BackboneEvidence) -> Finding:
    paths = [backbone.figures / run.id / "tsne.csv" for run in backbone.hycam.runs]
    found = [_drawn(path) for path in paths if path.is_file()]
    if not found:
        example = f"python -m hycam_exp.report figures run={backbone.hycam.runs[0].id}"
        return unknown(f"no t-SNE of a run of HyCAM: {example}")
    values = {state: float(np.mean([one[state] for one in found])) for state in found[0]}
    text = f"silhouette of value vectors in the plane, {len(found)} run{'s' * (len(found) > 1)}: "
    return told(values["with CAM"] > max(values["without CAM"], 0.0), text + listed(values, "+.3f", ""), values)


def _folds_of_paper(_: Published) -> Finding:
    tested = NUM_FOLDS * TEST
    text = f"five folds that test a tenth each test {tested:.0%} of the records, a five-fold cross-validation all"
    return told(tested >= 1, text, {"tested": tested})


def _folds(backbone: BackboneEvidence) -> Finding:
    parts = [run.parts for run in backbone.hycam.by_fold[backbone.hycam.folds[0]]]
    of_folds = [sum(of["test"] for of in runs[0].parts.values()) for runs in backbone.hycam.by_fold.values()]
    records = sum(sum(of.values()) for of in parts[0].values())
    if not records:
        return unknown("the records do not say their parts")
    share = sum(of_folds) / records
    train = sum(of["train"] for of in parts[0].values()) / records
    text = f"{len(of_folds)} folds test {share:.0%} of the records, once each; {train:.0%} of a fold are trained on"
    return told(share >= 1, text, {"tested": share, "trained": train})


def claims(cache: Cache) -> list[Claim]:
    """What the paper says of how things are built and behave."""
    found = cache.get("settings", "feed-forward shares", shares)
    feed_forward = Claim(
        id="feed_forward_share",
        statement="FFNs hold about 90% of a model's parameters",
        where="introduction",
        definition="gate, up and down projections over all parameters, by the backbones' architectures, are 85 to 95%",
        published=lambda _: _feed_forward(found),
    )
    return [feed_forward, *_OF_RUNS]


_OF_RUNS = [
    Claim(
        id="balanced_utilisation",
        statement="the load-balancing loss keeps the use of the specialized CAMs balanced",
        where="3.3, 3.4",
        definition="in no fold and layer is a module's mean weight over all tokens below a twentieth of an even share",
        published="no weights are given",
        of_backbone=_balance,
    ),
    Claim(
        id="coherent_clusters",
        statement="CAM leads to more coherent clusters of the value matrix's representations",
        where="4.6, t-SNE figure",
        definition="the silhouette by task of the drawn value vectors is larger with CAM than without, and above 0:"
        " below it points lie nearer to another task's than to their own",
        published="a figure without numbers",
        of_backbone=_clusters,
    ),
    Claim(
        id="cross_validation",
        statement="a 7:2:1 split for training, validation and testing, and five-fold cross-validation",
        where="4.1",
        definition="the test parts of the five folds together hold every record once",
        published=_folds_of_paper,
        of_backbone=_folds,
    ),
]
