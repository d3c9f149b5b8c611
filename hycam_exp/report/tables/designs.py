"""Every table of scores as a value: its experiment, its columns and its published numbers."""

from collections.abc import Callable
from dataclasses import dataclass

from hycam_exp.config.methods import METHODS
from hycam_exp.evaluation.metrics import METRICS, declared
from hycam_exp.evaluation.metrics import SCORES as TITLES
from hycam_exp.evaluation.retention import TASK as RETENTION
from hycam_exp.report.frame import FinishedRun
from hycam_exp.report.select import SelectedRow
from hycam_exp.report.tables.table import Column


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a column shows of a row's runs."""

    name: str
    metric: str
    """A metric of `METRICS`, or a name of its own for what `value` gives."""
    task: str = "mean"
    digits: str = ".3f"
    value: Callable[[FinishedRun], float | None] | None = None
    """What it shows of a run, where that is no score."""
    word: Callable[[SelectedRow], str] | None = None
    """What it says of a row, where that is no number."""

    @property
    def is_score(self) -> bool:
        """A metric with a direction, of the tasks."""
        return self.metric in METRICS and self.task != RETENTION

    def column(self, group: str) -> Column:
        """The column of a group."""
        better = declared(self.metric).better if self.metric in METRICS else "none"
        return Column(group=group, name=self.name, better=better, digits="" if self.word else self.digits)

    def values(self, row: SelectedRow, task: str | None = None) -> list[float | None]:
        """The value of every fold."""
        return row.of_folds(self.value) if self.value else row.values(self.metric, task or self.task)


SCORES = tuple(Measure(name=name, metric=metric) for metric, name in TITLES.items())
PPL = next(measure for measure in SCORES if measure.metric == "ppl")
PARAMETERS = Measure(name="trained parameters", metric="parameters", digits=",.0f", value=lambda run: run.parameters)
GENERAL_TEXT = Measure(name="general text PPL", metric="ppl_change", task=RETENTION, digits="+.1%")
SECONDS = Measure(name="seconds", metric="seconds", digits=".0f", value=lambda run: run.seconds)
MEMORY = Measure(name="peak MiB", metric="memory", digits=",.0f", value=lambda run: run.memory / 2**20)
LEARNING_RATE = Measure(name="learning rate", metric="learning_rate", digits="g", value=lambda run: run.learning_rate)
TOLD_THE_TASK = Measure(
    name="told the task", metric="told", word=lambda row: "yes" if is_told_task(row.method) else "no"
)


@dataclass(frozen=True, kw_only=True)
class Design:
    """A table of scores of one experiment file."""

    name: str
    title: str
    experiment: str
    measures: tuple[Measure, ...]
    by: str = ""
    """What the groups of columns are: model, task, or empty for one group."""
    label: str = "method"
    """What the rows are labelled by: method, or released for a ladder of switches."""
    published: str | None = None
    """The file of results/published, without its suffix."""
    has_star: bool = False
    has_variants: bool = False
    """Rows for other recipes on the same data, too."""
    is_wide: bool = True
    is_generated: bool = False
    """Its tasks are those of the mini set, not the paper's data sets."""


def is_told_task(method: str) -> bool:
    """Whether a method computes with the task of every row; a user's own is none that is known to."""
    return method in METHODS and METHODS[method].needs_task_ids


_MINI_SCORES = (*SCORES, GENERAL_TEXT, PARAMETERS, SECONDS)
DESIGNS = (
    Design(
        name="table2_main", title="Experimental results across different backbone LLMs.", experiment="table2_main",
        measures=SCORES, by="model", published="table2_main", has_star=True,
    ),
    Design(
        name="table3_qwen_sizes", title="Results with different sizes of the Qwen 2.5 family.",
        experiment="table3_qwen_sizes", measures=SCORES, by="model", published="table3_qwen_sizes", has_star=True,
    ),
    Design(
        name="table4_llama32", title="Results with different sizes of Llama 3.2.", experiment="table4_llama32",
        measures=SCORES, by="model", published="table4_llama32", has_star=True,
        is_wide=False,
    ),
    Design(
        name="table5_tasks", title="Detailed experimental results across the five data sets, on Llama 2 7B.",
        experiment="table5_tasks", measures=SCORES, by="task", published="table5_tasks_llama2_7b", has_star=True,
    ),
    Design(
        name="table6_ablation", title="Ablation study of HyCAM on Llama 2 7B.", experiment="table6_ablation",
        measures=(PPL,), published="table6_ablation_llama2_7b", is_wide=False,
    ),
    Design(
        name="mini", title="The methods on the embedded backbone and the generated tasks.", experiment="mini",
        measures=_MINI_SCORES, has_star=True, has_variants=True,
    ),
    Design(
        name="mini_tasks",
        title="The methods on the embedded backbone, task by task. The tasks are generated: each has the shape of one"
        " of the paper's data sets, and none of its records.",
        experiment="mini", measures=SCORES, by="task", has_star=True, has_variants=True, is_generated=True,
    ),
    Design(
        name="leaderboard", title="All methods on the embedded backbone and the generated tasks.",
        experiment="leaderboard", measures=(*_MINI_SCORES, MEMORY, LEARNING_RATE, TOLD_THE_TASK), has_star=True,
    ),
    Design(
        name="mini_ablation", title="Ablation study of HyCAM on the embedded backbone and the generated tasks.",
        experiment="mini_ablation", measures=_MINI_SCORES, has_variants=True,
    ),
    Design(
        name="budget_matched", title="The methods with as many trained parameters as HyCAM.",
        experiment="budget_matched", measures=(*SCORES, PARAMETERS), by="model", has_star=True,
    ),
    Design(
        name="budget_matched_lora", title="The methods with as many trained parameters as LoRA.",
        experiment="budget_matched_lora", measures=(*SCORES, PARAMETERS), by="model",
    ),
    Design(
        name="mini_budget_matched", title="The methods with as many trained parameters as HyCAM, on the embedded"
        " backbone and the generated tasks.",
        experiment="mini_budget_matched", measures=_MINI_SCORES, has_star=True,
    ),
    Design(
        name="mini_budget_matched_lora", title="The methods with as many trained parameters as LoRA, on the embedded"
        " backbone and the generated tasks.",
        experiment="mini_budget_matched_lora", measures=_MINI_SCORES, has_star=True,
    ),
    Design(
        name="paper_vs_released",
        title="From the paper's HyCAM to the released code's, one more switch of conf/released in each row, on the"
        " embedded backbone and the generated tasks.",
        experiment="paper_vs_released", measures=(*SCORES, GENERAL_TEXT, PARAMETERS), label="released",
    ),
)  # fmt: skip
