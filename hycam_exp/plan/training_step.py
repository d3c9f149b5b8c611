"""The training step of a run, as its trainer cuts it into micro-batches, and whether it fits a device."""

from hycam_exp.config.methods import METHODS
from hycam_exp.config.settings import Run, refusal
from hycam_exp.data.batches import StepSizes
from hycam_exp.plan.accelerators import Accelerator
from hycam_exp.plan.memory import Step
from hycam_exp.plan.shape import Batch, Shape, bytes_of


def step_of(run: Run, shape: Shape, device: Accelerator) -> Step:
    """A training step of the run, with micro-batches of the most rows that it has."""
    recipe, trainer = run.recipe, run.trainer
    sizes = StepSizes.of(recipe, trainer)
    return Step(
        shape=shape,
        settings=run.method,
        width=bytes_of(recipe.precision, METHODS[run.method.name].trains_backbone),
        batch=Batch(
            rows=sizes.rows,
            length=run.data.max_length,
            padded=sizes.rows > 1 or run.data.padding == "max_length",
        ),
        attention=run.model.attention,
        checkpointing=trainer.activation_checkpointing,
        accumulation=sizes.accumulation,
        foreach=device.gpu,
        strategy=trainer.strategy,
        devices=trainer.world_size,
        offload=trainer.offload,
        quantized=run.model.quantize is not None,
    )


def fits(run: Run, shape: Shape, device: Accelerator) -> bool:
    """The run's method works under its strategy, and the peak is at most the device's memory."""
    works = refusal(run.method.name, run.trainer.strategy) is None
    return works and step_of(run, shape, device).peak().total <= device.memory
