"""How much a cell trains, validates and decodes: its data's records and tokens, by the disk or the paper's Table 1."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

from hycam_exp.config.settings import DataSettings, ModelSettings, Run
from hycam_exp.data import splits
from hycam_exp.data.batches import Schedule, StepSizes
from hycam_exp.data.prompts import CHAT, render
from hycam_exp.data.records import Record
from hycam_exp.data.table1 import datasets
from hycam_exp.launch.cell_status import Data
from hycam_exp.models import files

TABLE1 = "the paper's Table 1"
SAMPLE = 100  # records of a task that are tokenised for the mean length
STEPS = 50  # training steps that are drawn for the share of padding


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Records of the three parts of a fold, and the mean number of tokens of a record."""

    train: int
    validation: int
    test: int
    tokens: float
    padding: float | None = None
    """The share of a training step's tokens that its micro-batches are padded with; None: the lengths are not known."""
    targets: float | None = None
    """The mean number of a record's tokens that are trained; None: not known."""
    records_from: str
    tokens_from: str

    def target_share(self, length: int) -> float:
        """Of the positions of a row padded to `length`, those with a target; all, where it is not known."""
        return 1.0 if self.targets is None or length < 2 else min(1.0, self.targets / (length - 1))


def workload(run: Run, data: Data) -> Workload | None:
    """What the run goes through in an epoch; None where its records are neither on disk nor in the paper's Table 1.

    Raises:
        ValueError: the backbone's tokenizer cannot be read, or a task's groups cannot be cut 7:2:1.
    """
    mix = run.data
    if data.hash is None:
        return _published(mix)
    chosen = splits.capped(data.records, mix.max_per_task, mix.group, mix.split_seed)
    splits.require_shares(chosen, mix.group, mix.split_seed)
    split = splits.split(chosen, run.fold, mix.group, mix.split_seed)
    train = sum((mix.weights or {}).get(record.task, 1.0) for record in split.train)
    tokens, targets, padding, origin = _mean_tokens(run, chosen)
    return Workload(
        train=round(train),
        validation=len(split.validation),
        test=len(split.test),
        tokens=tokens,
        padding=padding,
        targets=targets,
        records_from="the disk",
        tokens_from=origin,
    )


def _published(mix: DataSettings) -> Workload | None:
    """By the paper's Table 1, split 7:2:1; its token counts are those of Llama 2's tokenizer, prompt included."""
    rows = {row.task: row for row in datasets()}
    if not set(mix.tasks) <= set(rows):
        return None
    sizes = {task: min(rows[task].samples, mix.max_per_task or 10**9) for task in mix.tasks}
    lengths = {task: min(rows[task].average, mix.max_length) for task in mix.tasks}
    train = sum(0.7 * size * (mix.weights or {}).get(task, 1.0) for task, size in sizes.items())
    total = sum(sizes.values())
    origin = TABLE1
    mean = sum(sizes[task] * lengths[task] for task in mix.tasks) / total
    return Workload(
        train=round(train),
        validation=round(0.2 * total),
        test=round(0.1 * total),
        tokens=_padded(mix, mean),
        records_from=origin,
        tokens_from=origin,
    )


def _padded(mix: DataSettings, tokens: float) -> float:
    return mix.max_length if mix.padding == "max_length" else tokens


def _mean_tokens(run: Run, records: list[Record]) -> tuple[float, float | None, float | None, str]:
    """The mean length and number of targets, the padding, and where they are from: the tokenizer, Table 1, or the
    longest that is allowed.

    Raises:
        ValueError: the tokenizer's file is not whole.
    """
    mix, path = run.data, _tokenizer(run.model)
    if path is not None and mix.prompt != CHAT:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library has no class of its own
            raise ValueError(f"{path}: {error}") from error
        sample = [r for task in mix.tasks for r in [r for r in records if r.task == task][:SAMPLE]]
        prompts = tokenizer.encode_batch([render(mix.prompt, record) for record in sample])
        responses = tokenizer.encode_batch([record.output for record in sample], add_special_tokens=False)
        texts = zip(prompts, responses, strict=True)
        lengths = [min(len(p.ids) + len(r.ids) + 1, mix.max_length) for p, r in texts]
        untrained = [1 if mix.loss_on == "all" else len(p.ids) for p in prompts]
        trained = [max(0, n - first) for n, first in zip(lengths, untrained, strict=True)]
        counts = {task: sum(r.task == task for r in records) for task in mix.tasks}
        weights = [counts[r.task] / min(SAMPLE, counts[r.task]) / len(records) for r in sample]
        tokens, targets = (sum(n * w for n, w in zip(of, weights, strict=True)) for of in (lengths, trained))
        by_task = {task: [n for n, r in zip(lengths, sample, strict=True) if r.task == task] for task in mix.tasks}
        padding = 0.0 if mix.padding == "max_length" else _padding(run, by_task, counts)
        return _padded(mix, tokens), targets, padding, f"the tokenizer, on {len(sample)} records"
    published = _published(mix)
    if published is not None:
        return published.tokens, None, None, published.tokens_from
    return float(mix.max_length), None, 0.0, "data.max_length, the most there can be"


def _padding(run: Run, lengths: Mapping[str, Sequence[int]], counts: Mapping[str, int]) -> float:
    """The share of padding in steps of such lengths, of every task as many as it has, cut as training cuts them."""
    sizes = StepSizes.of(run.recipe, run.trainer)
    share = min(1.0, STEPS * sizes.global_batch_size / sum(counts.values()))
    drawn = [n for task, of in lengths.items() for n in islice(cycle(of), math.ceil(share * counts[task]))]
    schedule = Schedule(drawn, run.data.max_length, epochs=1, seed=run.seed, **asdict(sizes))
    ranks = range(sizes.world_size)
    batches = [b for window in schedule.windows(0) for rank in ranks for b in schedule.micro_batches(window, rank) if b]
    return 1 - sum(drawn) / sum(len(rows) * drawn[rows[0]] for rows in batches)


def _tokenizer(settings: ModelSettings) -> Path | None:
    """The tokenizer's file, where the backbone lies on this machine."""
    folder = files.folder(settings)
    path = folder / "tokenizer.json" if folder else None
    return path if path is not None and path.is_file() else None
