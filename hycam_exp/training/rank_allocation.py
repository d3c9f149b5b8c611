"""What AdaLoRA does beside an optimiser's step: after each it weighs every rank-one part, and cuts the least away.

See: Zhang et al. 2023, arXiv 2303.10512; PEFT's `AdaLoraModel.update_and_allocate`, which wants to be called between
the step and the next zeroing of gradients.
"""

from typing import Any

from peft import AdaLoraModel
from pytorch_lightning import Callback, LightningModule, Trainer

STATE = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # of PEFT's allocator: sensitivities, their means, and their spread


class RankAllocation(Callback):
    """Calls PEFT's allocator after every optimiser step, and keeps in checkpoints what it has gathered."""

    def __init__(self, tuner: AdaLoraModel, num_steps: int, accumulation: int) -> None:
        self.tuner, self.accumulation = tuner, accumulation
        configs: dict[str, Any] = tuner.peft_config
        self.config = configs[tuner.trainable_adapter_name]
        share = num_steps / self.config.total_step  # the config's own steps are shares of a run
        self.config.tinit, self.config.tfinal = (round(n * share) for n in (self.config.tinit, self.config.tfinal))
        self.config.total_step = num_steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % self.accumulation == 0:
            self.tuner.update_and_allocate(trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget which parts were cut last: saving would cut the best weights, which are of another step, by it; what
        was cut from those is zero in them.
        """
        self.config.rank_pattern = None

    def state_dict(self) -> dict[str, Any]:
        allocator = self.tuner.rankallocator
        return {"pattern": self.config.rank_pattern, **{name: getattr(allocator, name) for name in STATE}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.config.rank_pattern = state_dict["pattern"]
        for name in STATE:
            setattr(self.tuner.rankallocator, name, state_dict[name])
