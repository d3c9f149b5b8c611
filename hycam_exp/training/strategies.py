"""Strategies: how several devices share a cell's work, and what weights that are shared need outside of training.

ddp, zero1 and zero2 keep all weights on every device; fsdp (PyTorch's FSDP2) and zero3 cut them up. DeepSpeed is for
GPUs in Lightning; `ZeroStrategy` runs it on CPUs, too, for tests.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.plugins import DeepSpeedPrecision, Precision
from pytorch_lightning.plugins.environments import ClusterEnvironment, LightningEnvironment, TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed import checkpoint as sharded_checkpoint
from torch.distributed.checkpoint import state_dict as sharded_state
from torch.distributed.tensor import DTensor, distribute_tensor

from hycam_exp.config.settings import ZERO_BUCKET, TrainerSettings
from hycam_exp.methods import backbone_of
from hycam_exp.runtime import ranks

PERSISTENT = 10_000  # under ZeRO-3 a parameter of fewer entries stays whole on every device
NO_CLIPPING = 1e30  # ZeRO clips while it steps; above every norm it changes nothing, and the norm is still computed
PROGRESS = "progress.pt"


class PlainPrecision(Precision):
    """Weights stay in the dtypes they have; a bf16_mixed forward is autocast by the module itself."""


class ZeroPrecision(DeepSpeedPrecision):
    """The same under DeepSpeed, which would otherwise make all weights one dtype."""

    def __init__(self) -> None:
        super().__init__("32-true")

    def convert_module(self, module: nn.Module) -> nn.Module:
        return module

    def backward(self, tensor: Tensor, *args: Any, **kwargs: Any) -> None:
        super().backward(tensor, *args, scale_wrt_gas=False, **kwargs)  # Lightning has divided already


class ZeroStrategy(DeepSpeedStrategy):
    """DeepSpeed's ZeRO, on CPUs as well."""

    @property
    def root_device(self) -> torch.device:
        device = super().root_device
        return torch.device("cpu", 0) if device.type == "cpu" else device

    def setup_environment(self) -> None:
        if isinstance(self.accelerator, CUDAAccelerator):
            super().setup_environment()
            return
        super(DeepSpeedStrategy, self).setup_environment()

    def setup_distributed(self) -> None:
        self.set_world_ranks()
        _open_deepspeed(self.root_device.type)

    def gradient_norm(self) -> float:
        """Of the whole gradient of the last step, before clipping."""
        return float(self.deepspeed_engine.get_global_grad_norm())

    def teardown(self) -> None:
        engine: Any = self.model
        super().teardown()
        if hasattr(engine, "destroy"):  # it is the module itself where setting up failed
            engine.destroy()  # its hooks would go on gathering


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 over a model that `shard` cut up; every rank saves its shards of what is trained."""

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return {}  # the module adds what is trained

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        assert self.model is not None
        trained = {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        sharded_checkpoint.load({"state_dict": trained}, checkpoint_id=checkpoint_path)
        for index, optimizer in enumerate(self.optimizers):
            state = {f"optimizer_{index}": sharded_state.get_optimizer_state_dict(self.model, optimizer)}
            sharded_checkpoint.load(state, checkpoint_id=checkpoint_path)
            sharded_state.set_optimizer_state_dict(self.model, optimizer, optim_state_dict=state[f"optimizer_{index}"])
        return torch.load(Path(checkpoint_path) / PROGRESS, weights_only=weights_only)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        shards = {"state_dict": checkpoint.pop("state_dict")}
        shards |= {f"optimizer_{i}": state for i, state in enumerate(checkpoint.pop("optimizer_states"))}
        sharded_checkpoint.save(shards, checkpoint_id=filepath)
        if self.is_global_zero:
            torch.save(checkpoint, Path(filepath) / PROGRESS)


def strategy(hardware: TrainerSettings) -> Strategy | str:
    """Lightning's strategy for a trainer's settings; the process group is there already."""
    backend = "nccl" if hardware.accelerator == "gpu" else "gloo"
    if hardware.strategy == "single":
        return "auto"
    if hardware.strategy == "ddp":
        return DDPStrategy(process_group_backend=backend)
    if hardware.strategy == "fsdp":
        return ShardedStrategy(hardware.world_size, 1, process_group_backend=backend)
    return ZeroStrategy(
        config={
            "train_micro_batch_size_per_gpu": 1,  # only for DeepSpeed's own log
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,  # DeepSpeed's own AdamW would have to be compiled here
            "zero_optimization": zero_settings(hardware),
        },
        exclude_frozen_parameters=True,
        process_group_backend=backend,
    )


def environment(hardware: TrainerSettings) -> ClusterEnvironment:
    """Where Lightning learns of ranks: from torch's agent alone, whatever SLURM says of a job's tasks."""
    return LightningEnvironment() if hardware.strategy == "single" else TorchElasticEnvironment()


def precision_plugin(hardware: TrainerSettings) -> Precision | None:
    """What keeps a strategy from changing dtypes; None where Lightning's own is used."""
    if hardware.strategy.startswith("zero"):
        return ZeroPrecision()
    return PlainPrecision() if hardware.strategy == "fsdp" else None


def zero_settings(hardware: TrainerSettings) -> dict[str, Any]:
    """DeepSpeed's section zero_optimization."""
    stage = int(hardware.strategy.removeprefix("zero"))
    host = {"device": "cpu", "pin_memory": hardware.accelerator == "gpu"}
    settings: dict[str, Any] = {
        "stage": stage,
        "contiguous_gradients": True,
        "overlap_comm": hardware.accelerator == "gpu",
        "reduce_bucket_size": ZERO_BUCKET,
        "allgather_bucket_size": ZERO_BUCKET,
    }
    if stage == 3:
        settings["stage3_prefetch_bucket_size"] = ZERO_BUCKET
        settings["stage3_param_persistence_threshold"] = PERSISTENT
    if hardware.offload:
        settings["offload_optimizer"] = host
        if stage == 3:
            settings["offload_param"] = host
    return settings


def _open_deepspeed(device: str) -> None:
    """DeepSpeed on the process group that there is."""
    import deepspeed

    if device == "cpu":
        # Not its own messages through shared memory, which would be compiled for a minute. The table is replaced, not
        # changed: to look into it first tries the compiler on every op, and ranks without a stderr would show that.
        deepspeed.ops.__compatible_ops__ = {"deepspeed_shm_comm": False}
    deepspeed.utils.logging.logger.setLevel("ERROR")
    deepspeed.init_distributed("gloo" if device == "cpu" else "nccl")


@contextmanager
def loading(hardware: TrainerSettings, dtype: str) -> Iterator[None]:
    """Weights that are read inside go to their ranks at once under zero3: no rank ever holds the whole model."""
    if hardware.strategy != "zero3":
        yield
        return
    from transformers.integrations import HfDeepSpeedConfig, unset_hf_deepspeed_config

    _open_deepspeed("cuda" if hardware.accelerator == "gpu" else "cpu")
    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": zero_settings(hardware),
        "bf16": {"enabled": dtype == "bfloat16"},
    }
    kept = HfDeepSpeedConfig(settings)  # transformers looks for it as long as it lives
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del kept


def shard(model: nn.Module, hardware: TrainerSettings) -> None:
    """Under fsdp, cut the model up block by block, what is attached included; it computes as before."""
    if hardware.strategy != "fsdp":
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cuda" if hardware.accelerator == "gpu" else "cpu", (ranks.world_size(),))
    backbone = backbone_of(model)
    blocks = set(backbone._no_split_modules or ())
    for module in [m for m in backbone.modules() if type(m).__name__ in blocks]:
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
    fully_shard(backbone, mesh=mesh, reshard_after_forward=True)


@contextmanager
def computing(model: nn.Module, hardware: TrainerSettings) -> Iterator[None]:
    """Under zero3 a model computes only inside, where an engine of DeepSpeed gathers its weights."""
    if hardware.strategy != "zero3":
        yield
        return
    import deepspeed

    backbone = backbone_of(model)
    _name_parameters(backbone)
    weights = {key: value for key, value in zero_settings(hardware).items() if key != "offload_optimizer"}
    settings = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": weights}
    engine, *_ = deepspeed.initialize(config=settings, model=backbone, model_parameters=[], dist_init_required=False)
    try:
        yield
    finally:
        engine.destroy()


def _name_parameters(model: nn.Module) -> None:
    """Tell ZeRO-3 of the parameters in a module's ParameterDicts, which no forward of their own would gather."""
    import deepspeed

    for module in model.modules():
        for child in module.children():
            if isinstance(child, nn.ParameterDict):
                for parameter in child.parameters():
                    deepspeed.zero.register_external_parameter(module, parameter)


def prepare_training(model: nn.Module, hardware: TrainerSettings) -> None:
    """What a strategy must know before training."""
    if hardware.strategy == "zero3":
        _name_parameters(model)


def checkpointed(strategy: Strategy, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What of the trained parameters goes into a checkpoint: DeepSpeed writes its own, FSDP2 each rank's shards."""
    if isinstance(strategy, DeepSpeedStrategy):
        return {}
    if isinstance(strategy, ModelParallelStrategy):
        return {name: p.detach() for name, p in trained.items()}
    return {name: p.detach().cpu().clone() for name, p in trained.items()}


def state_to_save(model: Any, hardware: TrainerSettings) -> dict[str, Tensor] | None:
    """What an adapter's file holds (of full fine-tuning: all weights), whole, on the first rank.

    None where every rank has all weights, and the library that saves finds them itself.
    """
    if hardware.whole_weights:
        return None
    own = f".{getattr(getattr(model, 'base_model', None), 'prefix', None)}"
    return whole({name: p for name, p in model.named_parameters() if p.requires_grad or own in name})


def whole(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters by name, each gathered from all ranks; on the first rank alone, the others get nothing."""
    found = {}
    for name, parameter in named.items():
        with _gathered(parameter):
            tensor = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
            if ranks.is_first():
                found[name] = tensor.detach().cpu().clone()
    return found


def fill(parameter: Tensor, value: Tensor) -> None:
    """Put a whole value into a parameter, wherever its parts lie."""
    with torch.no_grad(), _gathered(parameter, modifier_rank=0):
        if isinstance(parameter, DTensor):
            value = distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
        if parameter.numel():  # under ZeRO-3 it is whole on every rank here, and the first one's counts
            parameter.copy_(value)


def _gathered(parameter: Tensor, modifier_rank: int | None = None) -> Any:
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter], modifier_rank=modifier_rank)
