"""What our own records can say of the paper's claims: by data mix, the settings that may be compared, and scores."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hycam_exp.config import NUM_FOLDS, compose
from hycam_exp.evaluation.metrics import SCORES
from hycam_exp.report.baselines import BASELINES
from hycam_exp.report.claims.scoreboard import OURS, Scoreboard
from hycam_exp.report.experiments import Memo
from hycam_exp.report.frame import tasks_of
from hycam_exp.report.published import VARIANTS
from hycam_exp.report.select import Summary
from hycam_exp.report.setting import differing, shown
from hycam_exp.report.statistics.significance import check_same_records


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """One backbone on a data mix: HyCAM as the paper sets it, and what was tested on the same records."""

    model: str
    hycam: Summary
    others: list[Summary]
    """Baselines and ablations with all folds, each in all its settings."""

    def settings(self, methods: Iterable[str]) -> list[Summary]:
        """Those of some methods, HyCAM first if it is among them."""
        chosen = set(methods)
        return [s for s in (self.hycam, *self.others) if s.method in chosen]

    def values(self, methods: Iterable[str], value: Callable[[Summary], float | None]) -> dict[str, float]:
        """A number of every setting that has it, by its name; HyCAM is `hycam` whatever its setting is called."""
        named = {OURS if s is self.hycam else s.label: value(s) for s in self.settings(methods)}
        return {name: number for name, number in named.items() if number is not None}

    def beside_hycam(self, methods: Sequence[str]) -> dict[str, Summary]:
        """One setting of each method that was run: HyCAM, and of the others the one whose setting is most like it."""
        found: dict[str, Summary] = {}
        for s in sorted(self.settings(methods), key=lambda s: (s is not self.hycam, self._distance(s), s.variant)):
            found.setdefault(s.method, s)
        return {method: found[method] for method in methods if method in found}

    def _distance(self, summary: Summary) -> int:
        """In how many values a setting differs from HyCAM's: of the method's own, in its learning rate alone."""
        keys = differing([self.hycam.setting, summary.setting])
        recipe = summary.records[0].config["recipe"]
        has_other_rate = recipe.get("learning_rate") != (recipe.get("learning_rates") or {}).get(summary.method)
        return has_other_rate + sum(not key.startswith(("method.", "recipe.learning_rate")) for key in keys)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The records of one data mix."""

    setting: str
    """What they are, in words: not the paper's setting unless it is that data mix on that backbone."""
    backbones: list[Backbone]

    def scoreboard(self) -> Scoreboard:
        """Scores as means over tasks, a column for each backbone."""
        return Scoreboard(
            {
                (name, backbone.model, metric): value
                for backbone in self.backbones
                for metric in SCORES
                for name, value in backbone.values((OURS, *BASELINES), _score(metric, "mean")).items()
            }
        )

    def tasks(self) -> list[Scoreboard]:
        """For each backbone the scores by task."""
        return [
            Scoreboard(
                {
                    (name, task, metric): value
                    for task in sorted({task for record in backbone.hycam.records for task in tasks_of(record)})
                    for metric in SCORES
                    for name, value in backbone.values((OURS, *BASELINES), _score(metric, task)).items()
                }
            )
            for backbone in self.backbones
        ]


def _score(metric: str, task: str) -> Callable[[Summary], float | None]:
    return lambda summary: summary.mean(metric, task)


def declared_settings(memo: Memo | None = None) -> Mapping[str, Any]:
    """The values of HyCAM's own YAML."""
    found: dict[str, Any] = (memo or Memo(None)).get(
        f"settings of {OURS}", lambda: asdict(compose(f"method={OURS}").method)
    )
    return found


def gather(summaries: Sequence[Summary], memo: Memo | None = None) -> list[Evidence]:
    """The evidence of every data mix that HyCAM was run on."""
    declared = declared_settings(memo)
    found = []
    for data in sorted({s.data for s in summaries}):
        of_data = [s for s in summaries if s.data == data]
        backbones, left_out = [], []
        for model in dict.fromkeys(s.model for s in of_data):
            backbone, incomplete = _backbone(model, [s for s in of_data if s.model == model], declared)
            backbones += [backbone] if backbone else []
            left_out += incomplete
        if backbones:
            found.append(Evidence(setting=_setting(data, backbones, left_out), backbones=backbones))
    return found


def _setting(data: str, backbones: Sequence[Backbone], left_out: Sequence[str]) -> str:
    words = [f"the {data} set", ", ".join(b.model for b in backbones)]
    folds = {len(b.hycam.folds) for b in backbones}
    words.append(f"{'/'.join(map(str, sorted(folds)))} of {NUM_FOLDS} folds")
    words += [f"HyCAM as {variant}" for b in backbones if (variant := _beyond_paper(b.hycam))]
    words += [f"left out for missing folds: {', '.join(left_out)}"] if left_out else []
    versions = set().union(*(s.versions for b in backbones for s in (b.hycam, *b.others)))
    words += [f"by {len(versions)} versions of the results"] if len(versions) > 1 else []
    return "; ".join(words)


def _beyond_paper(hycam: Summary) -> str:
    """What sets the paper's setting apart from others of HyCAM's: of the method's own values the rank alone."""
    differing = hycam.differing.items()
    return shown({key: value for key, value in differing if not key.startswith("method.") or key == "method.rank"})


def _backbone(
    model: str, summaries: Sequence[Summary], declared: Mapping[str, Any]
) -> tuple[Backbone | None, list[str]]:
    """The backbone, if it has HyCAM as the paper sets it, and the names of settings that lack folds."""
    scored = [s for s in summaries if s.mean("ppl") is not None]  # a search's records have no test scores
    hycam = papers_setting([s for s in scored if s.method == OURS], declared)
    if hycam is None:
        return None, []
    methods = {*BASELINES, *VARIANTS.values()} - {OURS}
    rivals = _of_one_seed(hycam, [s for s in scored if s.method in methods and _comparable(hycam, s)])
    complete = [s for s in rivals if s.folds == hycam.folds]
    incomplete = [f"{s.label} on {model}" for s in rivals if s.folds != hycam.folds]
    return Backbone(model=model, hycam=hycam, others=complete), incomplete


def _of_one_seed(hycam: Summary, rivals: Sequence[Summary]) -> list[Summary]:
    """Without a method's other seeds where it was run with HyCAM's, too: those are for figures over seeds."""
    seed = hycam.setting.get("seed")
    paired = {s.method for s in rivals if s.setting.get("seed") == seed}
    return [s for s in rivals if s.setting.get("seed") == seed or s.method not in paired]


def papers_setting(candidates: Sequence[Summary], declared: Mapping[str, Any]) -> Summary | None:
    """HyCAM with the method's own YAML, of any rank; the one with most folds, then the first by name, if several."""
    alike = [
        s
        for s in candidates
        if all(declared[k] == v for k, v in s.records[0].config["method"].items() if k in declared and k != "rank")
    ]
    return min(alike, key=lambda s: (-len(s.folds), s.variant), default=None)


def _comparable(a: Summary, b: Summary) -> bool:
    """Tested on the same records in the folds that both have."""
    try:
        check_same_records(a, b)
    except ValueError:
        return False
    return True
