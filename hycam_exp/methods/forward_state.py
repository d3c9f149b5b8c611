"""What layers of a method must know of the forward pass they are in: the rows' tasks, padding, whether it is trained.

It hangs on hooks of the base model, so that it holds however that is called: through PEFT, by `generate`, or as the
model that an adapter was injected into. The tasks of a batch come in one of three ways:

    with task_rows(model, names): ...       # this project's callers: by name, one for each row
    model(input_ids, task_index=index)      # a LongTensor (B,) of positions in the config's `tasks`; -1: unknown
    model.generate(input_ids, task_index=index, num_beams=4)

Hugging Face's Trainer hands on an integer column of that name with `remove_unused_columns=False`. (PEFT's forward knows
an argument `task_ids` of its own, which it gives to none but its own Poly.)
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from hycam_exp.methods.hycam_forward import share_of_step, with_loss

TASK_INDEX = "task_index"
UNKNOWN = -1
UNTOLD = (
    "this method is told the task and is trained without: every row counts as of an unknown task; give the model "
    "task_index (with Hugging Face's Trainer a column of that name and remove_unused_columns=False)"
)
REENTRANT = (
    "the auxiliary loss has no gradient under re-entrant activation checkpointing: ask for it with "
    "gradient_checkpointing_kwargs={'use_reentrant': False}"
)
Combine = Callable[[str, list[Tensor]], Tensor]


class ForwardState:
    """The state of one base model's forward passes, shared by the layers that a tuner has put into it.

    The rows' tasks stay until the next forward pass, so that activations which are computed again see the same.
    """

    def __init__(self, model: nn.Module, combine: Combine) -> None:
        self.tasks: tuple[str, ...] = ()
        """The names that a task index counts; none: the method is not told the task."""
        self.task_index: Tensor | None = None
        """The task of each row (B,), `UNKNOWN` where it is not known; None: of no row."""
        self.mask: Tensor | None = None
        """Which tokens are no padding (B, L); None: all of them."""
        self.training = False
        """The last forward pass is one of training; it still is when its activations are computed again."""
        self._first_pass = False
        self._given: Tensor | None = None
        self._collected: dict[str, list[Tensor]] = {}
        self._combine, self._names, self._told = combine, tuple(signature(model.forward).parameters), False
        self._handles = [
            model.register_forward_pre_hook(self._before, with_kwargs=True),
            model.register_forward_hook(self._after, with_kwargs=True),
        ]

    @classmethod
    def of(cls, model: nn.Module) -> "ForwardState | None":
        """The state of a base model, if it has one."""
        owners = (getattr(hook, "__self__", None) for hook in model._forward_hooks.values())
        return next((owner for owner in owners if isinstance(owner, cls)), None)

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: nothing that hangs on the graph of the last forward pass."""
        return {**vars(self), "_collected": {}}

    def remove(self) -> None:
        """Leave the base model as it was."""
        for handle in self._handles:
            handle.remove()

    @contextmanager
    def given(self, index: Tensor | None) -> Iterator[None]:
        """Forward passes inside are of rows of these tasks, where they are not told otherwise."""
        before, self._given = self._given, self._given if index is None else index
        try:
            yield
        finally:
            self._given = before

    def index_of(self, names: Sequence[str], training: bool) -> Tensor:
        """The task index of rows by the names of their tasks; without names all rows are of an unknown one.

        Raises:
            ValueError: a task is unknown in training.
        """
        strange = sorted(set(names) - set(self.tasks))
        if training and strange:
            raise ValueError(f"task {strange[0]}: the method's tasks are {', '.join(self.tasks)}; train it on those")
        places = {task: index for index, task in enumerate(self.tasks)}
        return torch.tensor([places.get(name, UNKNOWN) for name in names] or [UNKNOWN])

    def for_rows(self, table: Tensor) -> Tensor:
        """A task table's (T, ...) entry for each row: (B, ...), the mean of all where a row's task is unknown.

        Where no row's is known it is that mean alone, (...).
        """
        mean = table.mean(0)
        if self.task_index is None:
            return mean
        return torch.cat((table, mean.unsqueeze(0)))[self.task_index.to(table.device)]

    def collect(self, adapter_name: str, values: Tensor) -> None:
        """Keep what a layer says of this forward pass for the auxiliary loss.

        It is called again where activations are computed again, so that the same tensors are saved, and keeps nothing.
        """
        if self._first_pass:
            self._collected.setdefault(adapter_name, []).append(values)

    def auxiliary_loss(self) -> Tensor | None:
        """The weighted auxiliary loss of the last forward pass, which was trained; None where nothing was collected.

        Raises:
            ValueError: it has no gradient, and is asked for to be trained.
        """
        if not self._collected:
            return None
        total = torch.stack([self._combine(name, values) for name, values in self._collected.items()]).sum()
        if torch.is_grad_enabled() and not total.requires_grad:
            raise ValueError(REENTRANT)
        return total

    def _before(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Take the rows' tasks and the mask, and forget the last forward pass."""
        named = dict(zip(self._names, args, strict=False)) | kwargs
        mask, own = named.get("attention_mask"), kwargs.get(TASK_INDEX)
        self.mask = mask if isinstance(mask, Tensor) and mask.dim() == 2 else None
        self._collected, self._first_pass, self.training = {}, True, model.training
        if own is not None and not torch.compiler.is_compiling():
            self._check(own)
        index = self._given if own is None else own
        if self.tasks and index is None and model.training and torch.is_grad_enabled():
            self._warn_untold()
        inputs = next(named[name] for name in ("input_ids", "inputs_embeds") if named.get(name) is not None)
        self.task_index = None if index is None or not self.tasks else _repeated(index, inputs)
        return args, {key: value for key, value in kwargs.items() if key != TASK_INDEX}

    def _check(self, index: Tensor) -> None:
        wrong = index[(index < UNKNOWN) | (index >= len(self.tasks))]
        if len(wrong):
            law = f"must be in {UNKNOWN}..{len(self.tasks) - 1} ({', '.join(self.tasks)}; {UNKNOWN}: unknown)"
            raise ValueError(f"{TASK_INDEX}={int(wrong[0])}: {law}")

    def _warn_untold(self) -> None:
        if not self._told and not torch.compiler.is_compiling():
            self._told = True
            warnings.warn(UNTOLD, stacklevel=2)

    def _after(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> Any:
        """The outputs; in training with labels, the auxiliary loss is added to their loss."""
        named = dict(zip(self._names, args, strict=False)) | kwargs
        trained = self.training and torch.is_grad_enabled()
        self._first_pass, labels = False, named.get("labels")
        if not trained or labels is None or not self._collected:
            return outputs
        auxiliary = self.auxiliary_loss()
        assert auxiliary is not None, "something was collected"
        return with_loss(outputs, share_of_step(labels, named.get("num_items_in_batch")) * auxiliary)


def _repeated(index: Tensor, inputs: Tensor) -> Tensor:
    """The index for every row of a batch, in which beams, or returned sequences, of one row follow each other."""
    rows, times = inputs.shape[0], inputs.shape[0] // len(index)
    if times * len(index) != rows:
        raise ValueError(f"{TASK_INDEX} is of {len(index)} rows, and the batch has {rows}; give one for each row")
    return index.to(device=inputs.device, dtype=torch.long).repeat_interleave(times, output_size=rows)
