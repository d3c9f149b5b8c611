"""One cell end to end: records, fold, backbone, method, training, scores, record. The first file to read.

raw file -> Record -> Split -> Tokens -> Batch -> backbone + method -> FineTuning -> Scores -> RunRecord
"""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hycam_exp.config.identity import run_id
from hycam_exp.config.methods import method_of
from hycam_exp.config.settings import Run
from hycam_exp.data import sources
from hycam_exp.data.batches import StepSizes
from hycam_exp.data.records import content_hash
from hycam_exp.models import causality, files
from hycam_exp.models.backbone import Backbone, examine
from hycam_exp.models.load import check_weights, load_model, weight_dtype
from hycam_exp.records import printout
from hycam_exp.records.provenance import versions
from hycam_exp.records.record import RunRecord
from hycam_exp.records.store import MAX_FAILURES, Store
from hycam_exp.records.version import RESULTS_VERSION
from hycam_exp.runtime import ranks
from hycam_exp.runtime.cost import Clock
from hycam_exp.runtime.files import disk_error, share, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from hycam_exp.data.folds import Fold
    from hycam_exp.data.tokens import Tokens
    from hycam_exp.evaluation.generation import Decoder
    from hycam_exp.evaluation.measurement import Measurement
    from hycam_exp.training.fit import Fit, Logger


RETENTION_WINDOW = 512  # tokens of general text that are scored together
CONTINUING = ("torch", "transformers", "peft", "pytorch-lightning")
"""An attempt is continued by the same versions of these only, unless `resume=always`."""

ATTEMPT_FOLDERS = ("training", "predictions")
"""Of a cell: what an attempt that was interrupted leaves to be gone on from."""


def run_cell(run: Run) -> RunRecord:
    """The cell's record: from the store if the cell is finished, otherwise made and written there.

    Raises:
        ValueError: something that the user can mend; nothing is then half-written.
    """
    ranks.check_joined(run.trainer)
    store = Store.of(run)
    store.check_writable()
    clock = Clock()
    with clock("data"):
        collection = _collection(run)
    printout.rejections(collection.rejections)
    content = {"data": content_hash(collection.records), **files.contents(run.model)}
    identifier = run_id(run, content)
    found = _finished(run, identifier, store)
    try:
        with nullcontext() if found else ranks.held_by_first(store.lock(identifier)):
            found = found or _finished(run, identifier, store)  # another may have run it while this one waited
            record = found or Cell(run, identifier, store, collection, clock).finish()
    except OSError as error:  # a full or vanished disk: what is written is whole, and the same command goes on
        raise store.unwritable(identifier, error) from error
    printout.finished(record, store, _remark(run, found) if found else None)
    return record


def _remark(run: Run, record: RunRecord) -> str:
    """That nothing was run; and with which trainer the record was made, where it was another."""
    asked, had = asdict(run.trainer), record.config["trainer"]
    other = [f"trainer.{key}={value}" for key, value in had.items() if key in asked and asked[key] != value]
    on = f", with {', '.join(other)}, of which its identity is free" if other else ""
    return f"This cell was finished before{on}; overwrite=true runs it again."


def _finished(run: Run, identifier: str, store: Store) -> RunRecord | None:
    """The cell's record where it stands; None where the cell is to be run.

    Raises:
        ValueError: the cell has failed as often as it may.
    """
    record = ranks.from_first(lambda: store.read(identifier))
    if record is not None and not run.overwrite:
        return record
    failures = ranks.from_first(lambda: store.failures(identifier))
    if len(failures) >= MAX_FAILURES and not run.retry:
        raise ValueError(f"{identifier} failed {len(failures)} times ({failures[-1]['message']}); retry=true runs it")
    return None


def _collection(run: Run) -> sources.Collection:
    """The run's records; where they cannot be read, what else the run lacks is said in the same breath."""
    try:
        return sources.read(run.data.tasks, run.data.root, run.data.fields)
    except ValueError as error:
        lines = [str(error)]
        if run.model.source == "hub":
            try:
                examine(run.model, run.trainer, run.recipe.precision)
            except ValueError as other:
                lines.append(str(other))
        raise ValueError("\n".join(lines)) from error


@dataclass
class Cell:
    """A cell that is being run; `finish` runs it to its record."""

    run: Run
    identifier: str
    store: Store
    collection: sources.Collection
    clock: Clock
    notes: list[str] = field(default_factory=list)
    method: Any = field(init=False)
    """The run's, with the size that a budget asks for; known once the backbone is."""
    chosen: dict[str, int] = field(init=False)
    """That size, and the budget."""

    def finish(self) -> RunRecord:
        """Measure, train, measure again, and write the record."""
        from hycam_exp.methods import unadapted
        from hycam_exp.records import wandb_mirror
        from hycam_exp.training import strategies

        attempt = ranks.from_first(self._begin_attempt)
        with self.clock("load"):
            fold = ranks.first_in_turn(self._fold)
            model = self._load()
        try:
            tested = method_of(self.run.method).tested
            before = None if tested else self._measure(model, fold.test, "before")
            adapted, parameters = self._attach(model)
            strategies.shard(adapted, self.run.trainer)
            if before is None:
                with unadapted(adapted):
                    before = self._measure(adapted, fold.test, "before")
            loggers = self._loggers(attempt)
            fit = self._train(adapted, fold, loggers)
            after = self._measure(adapted, fold.test, "after")
            self._save(adapted)
            record = ranks.from_first(lambda: self._record(fold, fit, before, after, parameters))
        except Exception as error:
            if (fault := disk_error(error)) is not None:  # not the cell's
                raise fault from error
            if ranks.speaks():
                self.store.add_failure(self.identifier, error)
            raise
        if ranks.is_first():
            wandb_mirror.publish(loggers, record, after)
            shutil.rmtree(self.folder / "training")
        return record

    @property
    def folder(self) -> Path:
        """Everything about the cell but its record."""
        return self.store.folder(self.identifier)

    @property
    def device(self) -> str:
        """The torch device that computes."""
        return "cuda" if self.run.trainer.accelerator == "gpu" else "cpu"

    def _begin_attempt(self) -> int:
        """The attempt's number; an earlier attempt's state is kept only if this one may go on from it."""
        from hycam_exp.training.checkpoints import set_aside_damaged

        state = self.folder / "attempt.json"
        for linked in (path for path in map(self.folder.joinpath, ATTEMPT_FOLDERS) if path.is_symlink()):
            raise ValueError(f"{linked}: a symbolic link, which is not followed; paths.outputs=FOLDER moves all of it")
        previous = self._previous_attempt(state)
        trainer = self.run.trainer
        made_by = {
            "results version": RESULTS_VERSION,
            "strategy": trainer.strategy,
            "ranks": trainer.world_size,
            "micro batch size": self._sizes.micro_batch_size,  # Lightning counts micro-batches
            **{package: versions().get(package) for package in CONTINUING},
        }
        fresh = self.run.resume == "never" or self.run.overwrite
        self.notes += [] if fresh else previous.get("notes", [])
        other = [key for key, now in made_by.items() if previous["attempt"] and previous.get(key) != now]
        continued = not fresh and (not other or (self.run.resume == "always" and set(other) <= set(CONTINUING)))
        if other:
            changes = "; ".join(f"{key} {previous.get(key)}, now {made_by[key]}" for key in other)
            what = "continued by resume=always" if continued else "not continued"
            self._tell(f"an earlier attempt was {what}: it was made with {changes}")
        if not continued:
            for name in ATTEMPT_FOLDERS:
                shutil.rmtree(self.folder / name, ignore_errors=True)
        elif damage := set_aside_damaged(self.folder / "training"):
            self._tell(damage)
        attempt = previous["attempt"] + 1
        write_atomically(state, json.dumps({"attempt": attempt, **made_by, "notes": self.notes}).encode())
        return attempt

    def _tell(self, note: str) -> None:
        self.notes.append(note)
        print(f"{self.identifier}: {note}", flush=True)

    def _previous_attempt(self, state: Path) -> dict[str, Any]:
        if not state.is_file():
            return {"attempt": 0}
        try:
            found: dict[str, Any] = json.loads(state.read_text())
            return {**found, "attempt": int(found["attempt"])}
        except (ValueError, TypeError, KeyError) as error:
            way_out = f"move {self.folder} away to begin the cell again"
            raise ValueError(f"{state}: does not tell the last attempt ({error}); {way_out}") from error

    @property
    def _sizes(self) -> StepSizes:
        return StepSizes.of(self.run.recipe, self.run.trainer)

    @cached_property
    def backbone(self) -> Backbone:
        """Config and tokenizer, checked against the settings before any weight is read."""
        from hycam_exp.data.tokens import end_with
        from hycam_exp.methods.budget import prepared

        run = self.run
        backbone = examine(run.model, run.trainer, run.recipe.precision)
        backbone = replace(backbone, taken=run.method.virtual_tokens)
        backbone.check_length(run.data.max_length)
        self.method, self.chosen = prepared(run.method, backbone.config)
        self.method.check_width(backbone.width)
        end_with(backbone.tokenizer, run.data.eos)
        check_weights(backbone)
        return backbone

    def _fold(self) -> Fold:
        from hycam_exp.data.folds import fold_of
        from hycam_exp.data.tokens import other_ending

        if remark := other_ending(self.backbone.tokenizer, self.run.data.prompt):
            self.notes.append(remark)
            if ranks.is_first():
                printout.note(remark)
        cache = self.store.outputs / "tokens"
        fold = fold_of(self.collection.records, self.run.fold, self.run.data, self.backbone.tokenizer, cache)
        self.notes += fold.gaps(self.run.data.tasks)
        return fold

    def _load(self) -> nn.Module:
        from hycam_exp.training import strategies

        dtype = weight_dtype(self.run.recipe.precision, method_of(self.run.method).trains_backbone)
        random = self.run.model.source == "random"  # is drawn whole
        with nullcontext() if random else strategies.loading(self.run.trainer, dtype):
            model: Any = load_model(self.backbone, dtype, self.run.seed)
        if not causality.is_known(model.config):
            if self.run.trainer.whole_weights:
                model.to(self.device)
            with strategies.computing(model, self.run.trainer):
                causality.check_causal(model, self.run.model)
        return model

    def _autocast(self) -> AbstractContextManager[object]:
        import torch

        mixed = self.run.recipe.precision == "bf16_mixed"
        return torch.autocast(self.device, torch.bfloat16) if mixed else nullcontext()

    def _measure(self, model: nn.Module, rows: Sequence[Tokens], when: str) -> Measurement:
        """Perplexity and retention; decoded responses after adaptation, and before it where the recipe says so."""
        from hycam_exp.evaluation import measurement
        from hycam_exp.training import strategies

        evaluation, batch_size = self.run.evaluation, self.run.trainer.evaluation_batch_size
        if not evaluation.test:
            return measurement.Measurement(rows=[], nats=[], retention=[])
        model.to(self.device)
        with strategies.computing(model, self.run.trainer), self._autocast():
            with self.clock(f"evaluate_{when}"):
                withhold = when == "after" and method_of(self.run.method).needs_task_ids
                found = measurement.score(
                    model, rows, self.general_text, batch_size, self.backbone.pad_id, when, withhold
                )
            if evaluation.generate and (when == "after" or evaluation.generate_before):
                path = self.folder / "predictions" / f"{when}.jsonl"
                compare = evaluation.compare_single if when == "after" else 0
                with self.clock.kept(f"generate_{when}", path.with_suffix(".seconds")) as keep:
                    measurement.generate(found, self._decoder(model), batch_size, path, compare, when, keep)
        return found

    @cached_property
    def general_text(self) -> list[Tokens]:
        """The windows of general text; none where there is no such text."""
        from hycam_exp.evaluation import retention

        path = files.retention_path(self.run.model)
        if path is None:
            return []
        return retention.rows(
            path, self.backbone.tokenizer, min(RETENTION_WINDOW, self.backbone.positions or RETENTION_WINDOW)
        )

    def _decoder(self, model: nn.Module) -> Decoder:
        from hycam_exp.evaluation.generation import Decoder

        return Decoder(
            model=model,
            tokenizer=self.backbone.tokenizer,
            max_new_tokens=self.run.evaluation.max_new_tokens,
            positions=self.backbone.positions,
            pad_id=self.backbone.pad_id,
            lockstep=not self.run.trainer.whole_weights,
        )

    def _attach(self, model: nn.Module) -> tuple[nn.Module, dict[str, int]]:
        """The model with the method attached, and its numbers of parameters."""
        import torch

        from hycam_exp.methods import attach
        from hycam_exp.methods.modulation_limits import remarks
        from hycam_exp.methods.recognition import size_of

        method = method_of(self.run.method)
        start = None if method.tested else causality.first_logits(model.to(self.device))
        torch.manual_seed(self.run.seed)
        adapted = attach(model, self.method)
        if self.run.trainer.whole_weights and not method.trains_backbone:
            causality.check_method(adapted.to(self.device), self.run.method.name)
            self.notes += [f"{self.run.method.name} on this backbone: {remark}" for remark in remarks(adapted)]
        if start is not None and (remark := causality.other_start(adapted, start, self.run.method.name)):
            self.notes.append(remark)
        sizes = [(size_of(p), p.requires_grad) for p in adapted.parameters()]
        trainable, total = sum(n for n, trained in sizes if trained), sum(n for n, _ in sizes)
        return adapted, {"parameters_trainable": trainable, "parameters_total": total, **self.chosen}

    def _loggers(self, attempt: int) -> list[Logger]:
        from hycam_exp.training.loggers import loggers

        return loggers(self.run, self.identifier, self.folder, attempt)

    def _train(self, adapted: nn.Module, fold: Fold, loggers: list[Logger]) -> Fit:
        from hycam_exp.data.batches import Schedule
        from hycam_exp.data.module import FoldData
        from hycam_exp.training.fit import fit

        run = self.run
        pad_to = run.data.max_length if run.data.padding == "max_length" else 0
        schedule = Schedule(
            lengths=[max(length, pad_to) for length in fold.train.lengths], max_length=run.data.max_length,
            epochs=run.recipe.epochs, seed=run.seed, **asdict(self._sizes),
        )  # fmt: skip
        batch_size, pad_id = run.trainer.evaluation_batch_size, self.backbone.pad_id
        data = FoldData(fold, schedule, batch_size, pad_id, run.data.loss_on, pad_to)
        done = fit(adapted, data, run, self.folder / "training", loggers)
        self.clock.seconds["train"] = done.seconds
        return done

    def _save(self, adapted: Any) -> None:
        """The adapter in PEFT's form (for full fine-tuning the whole model), the tokenizer, and the run's settings."""
        from hycam_exp.training import strategies

        target = self.folder / "adapter"
        state = strategies.state_to_save(adapted, self.run.trainer)
        if not ranks.is_first():
            return
        shutil.rmtree(target, ignore_errors=True)
        adapted.save_pretrained(target, **({"state_dict": state} if state else {}))
        for weights in target.glob("*.safetensors"):
            share(weights)
        self.backbone.tokenizer.save_pretrained(target)
        write_atomically(target / files.SETTINGS_FILE, json.dumps(asdict(self.run), indent=1).encode())

    def _record(
        self, fold: Fold, fit: Fit, before: Measurement, after: Measurement, parameters: dict[str, int]
    ) -> RunRecord:
        """Write the samples file, then the record: a record is there only when everything is."""
        from hycam_exp.evaluation.samples import samples_file
        from hycam_exp.methods import model_card
        from hycam_exp.records.build import record_of

        if after.rows and not after.retention:
            text = self.run.model.retention_text
            why = f"no file {text} (python -m data_prep fetch retention)" if text else "model.retention_text is null"
            self.notes.append(f"retention was not measured: {why}")
        record = record_of(
            self.run, self.identifier, self.collection, fold, fit, before, after, self.clock.seconds, parameters,
            self.notes,
        )  # fmt: skip
        if after.rows:
            write_atomically(self.store.samples_path(self.identifier), samples_file(before, after))
        model_card.add_scores(self.folder / "adapter", record.run_id, record.scores)
        self.store.write(record)
        return record
