"""The typed tree of a run, as plain dataclasses that check their own values; `config.compose` makes them from YAML.

Standard library only, so that whoever needs a name or a law of the settings has it at once.
"""

from dataclasses import dataclass
from typing import Any

from hycam_exp.config.method_settings import MethodSettings
from hycam_exp.config.methods import method_of
from hycam_exp.runtime.require import require, require_one_of, require_plain_name

NUM_FOLDS = 5
PROMPT_STYLES = ("alpaca", "alpaca_newline", "plain", "chat")
"""The templates of `data.prompts`; chat is the tokenizer's own."""
STRATEGIES = ("single", "ddp", "fsdp", "zero1", "zero2", "zero3")
ZERO_BUCKET = 20_000_000  # parameters that ZeRO sends at once; a buffer of as many is kept
LOSS_CHUNK = 2**22  # logits that the loss computes with at once
TOKENIZER_FACTS = ("length", "bos_id", "eos_id")


@dataclass(kw_only=True)
class ModelSettings:
    """A backbone and its tokenizer."""

    name: str
    source: str
    """embedded (in the package), random (weights from `architecture`), folder (`path`) or hub (`hub_id`)."""
    path: str | None
    """A folder in Hugging Face form; for embedded and random a folder of the package's assets."""
    hub_id: str | None
    revision: str | None
    architecture: dict[str, Any] | None
    """Fields of the Hugging Face config, `model_type` among them: a random backbone is built from them; hub and folder
    are built from their own config, which must not differ in any of these."""
    attention: str
    """The attention implementation in transformers: sdpa, eager, flash_attention_2."""
    retention_text: str | None
    """A UTF-8 text file of general language, documents separated by blank lines; null: not measured."""
    tokenizer: dict[str, int | None] | None = None
    """What the tokenizer of hub and folder must have: length (added tokens included), bos_id, eos_id (null: it has no
    such token); null, as in runs before there was this field: not checked."""
    quantize: str | None = None
    """nf4: the frozen weights are read into four bits by bitsandbytes; null, as in runs before there was this field."""

    def __post_init__(self) -> None:
        require_plain_name("model.name", self.name)
        require_one_of(("embedded", "random", "folder", "hub"), "model.source", self.source)
        require(self.quantize in (None, "nf4"), "model.quantize", self.quantize, "must be null or nf4")
        stored = self.quantize is None or self.source != "random"
        require(stored, "model.quantize", self.quantize, "needs weights to read, not model.source=random")
        needed = {"hub": "hub_id", "random": "architecture"}.get(self.source, "path")
        require(bool(getattr(self, needed)), f"model.{needed}", getattr(self, needed), f"needed by {self.source}")
        for fact in self.tokenizer or {}:
            require_one_of(TOKENIZER_FACTS, "a key of model.tokenizer", fact)


@dataclass(kw_only=True)
class DataSettings:
    """A data mix: which tasks, from where, how rendered, how split."""

    name: str
    tasks: list[str]
    root: str | None
    """A folder with one sub-folder a task, or the folder or file of a single task; null: the generated mini set."""
    fields: dict[str, dict[str, str | None]] | None
    """For a task of one's own, the names of its fields: instruction and output, if need be input and group."""
    max_per_task: int | None
    """At most so many records of each task, chosen by content, not by row order; null: all."""
    weights: dict[str, float] | None
    """How often an epoch trains on each record of a task (0.5: on half of them); null and tasks not named: once."""
    prompt: str
    """Name of the prompt template."""
    max_length: int
    """Tokens of prompt and response together; longer records are cut on the right, and counted."""
    padding: str
    """Of training batches: longest (in the batch), or max_length (as in the released code)."""
    loss_on: str
    """response, or all (prompt tokens are trained too, as in the released code)."""
    group: str
    """prompt: records that share a prompt or passage stay in one split; none: plain splits."""
    split_seed: int
    eos: str | None = None
    """The special token that ends a response, for chat models that end turns with another than the tokenizer's EOS;
    null, as in runs before there was this field: the tokenizer's EOS."""

    def __post_init__(self) -> None:
        require_plain_name("data.name", self.name)
        for task in self.tasks:
            require_plain_name("a task of data.tasks", task)
        require(bool(self.tasks), "data.tasks", self.tasks, "needs at least one task")
        require(len(set(self.tasks)) == len(self.tasks), "data.tasks", self.tasks, "names a task twice")
        require(self.max_length >= 8, "data.max_length", self.max_length, "must be at least 8")
        positive = self.max_per_task is None or self.max_per_task >= 10
        require(positive, "data.max_per_task", self.max_per_task, "must be at least 10, or null")
        for task, weight in (self.weights or {}).items():
            require(task in self.tasks, f"data.weights.{task}", weight, f"data.tasks is {', '.join(self.tasks)}")
            require(0 < weight <= 100, f"data.weights.{task}", weight, "must be above 0 and at most 100")
        require_one_of(PROMPT_STYLES, "data.prompt", self.prompt)
        require(self.eos != "", "data.eos", self.eos, "must be the name of a token, or null")
        require_one_of(("longest", "max_length"), "data.padding", self.padding)
        require_one_of(("response", "all"), "data.loss_on", self.loss_on)
        require_one_of(("prompt", "none"), "data.group", self.group)


@dataclass(kw_only=True)
class RecipeSettings:
    """What decides the result of training, apart from method and data."""

    name: str
    epochs: int
    """At most so many passes over the training split; early stopping may end it before."""
    global_batch_size: int
    """Records in one optimiser step, over all ranks and micro-batches."""
    learning_rates: dict[str, float]
    """Learning rates by method, from which `learning_rate` may be taken; not part of a run's identity."""
    learning_rate: float
    betas: list[float]
    epsilon: float
    weight_decay: float
    """Applied to tensors of two and more dimensions only."""
    warmup_ratio: float
    clip: float | None
    """Largest norm of the gradient; null: not clipped."""
    rank: int
    precision: str
    """float32, bf16_mixed (frozen weights in bfloat16, trained ones in float32) or float64."""
    validations_per_epoch: int
    patience: int
    """Validations without improvement after which training stops."""
    max_new_tokens: int
    generate_before: bool
    compare_single: int

    def __post_init__(self) -> None:
        for field in ("epochs", "global_batch_size", "rank", "validations_per_epoch", "patience", "max_new_tokens"):
            require(getattr(self, field) >= 1, f"recipe.{field}", getattr(self, field), "must be at least 1")
        require(self.learning_rate > 0, "recipe.learning_rate", self.learning_rate, "must be above 0")
        require(len(self.betas) == 2, "recipe.betas", self.betas, "must be two numbers")
        require(all(0 <= b < 1 for b in self.betas), "recipe.betas", self.betas, "must be in [0, 1)")
        require(0 <= self.warmup_ratio < 1, "recipe.warmup_ratio", self.warmup_ratio, "must be in [0, 1)")
        require(self.clip is None or self.clip > 0, "recipe.clip", self.clip, "must be above 0, or null")
        require_one_of(("float32", "bf16_mixed", "float64"), "recipe.precision", self.precision)


@dataclass(kw_only=True)
class TrainerSettings:
    """Hardware only: nothing here changes what is computed, apart from rounding and the balance loss's batches."""

    name: str
    accelerator: str
    devices: int
    """Of one node."""
    micro_batch_size: int
    """Records on one device at once; micro-batches are accumulated up to the recipe's global batch."""
    evaluation_batch_size: int
    activation_checkpointing: bool
    checkpoint_every_steps: int
    """Optimiser steps between two checkpoints for resuming."""
    deterministic: bool
    """Only deterministic kernels."""
    strategy: str = "single"
    """How several devices share the work: one of `STRATEGIES`; single, as in runs before there was this field."""
    num_nodes: int = 1
    offload: bool = False
    """Under ZeRO: the optimiser, and for zero3 the weights, lie in the host's memory."""

    def __post_init__(self) -> None:
        require_one_of(("cpu", "gpu"), "trainer.accelerator", self.accelerator)
        require_one_of(STRATEGIES, "trainer.strategy", self.strategy)
        for field in ("devices", "num_nodes", "micro_batch_size", "evaluation_batch_size", "checkpoint_every_steps"):
            require(getattr(self, field) >= 1, f"trainer.{field}", getattr(self, field), "must be at least 1")
        alone = self.world_size == 1 or self.strategy != "single"
        require(alone, "trainer.devices", self.devices, "needs a strategy: trainer=ddp, fsdp, zero1, zero2 or zero3")
        zero = not self.offload or self.strategy.startswith("zero")
        require(zero, "trainer.offload", self.offload, f"belongs to zero1, zero2 and zero3, not to {self.strategy}")

    @property
    def world_size(self) -> int:
        """Devices of all nodes."""
        return self.devices * self.num_nodes

    @property
    def whole_weights(self) -> bool:
        """Every device has all weights, and can compute alone."""
        return self.strategy not in ("fsdp", "zero3")


@dataclass(kw_only=True)
class LoggerSettings:
    """Where curves go besides the CSV file, which is always written."""

    name: str
    project: str | None
    """Of Weights & Biases; the experiment of MLflow."""
    mode: str | None
    """Weights & Biases: offline or online."""

    def __post_init__(self) -> None:
        require_one_of(("csv", "wandb", "tensorboard", "mlflow"), "logger.name", self.name)
        if self.name == "wandb":
            require_one_of(("offline", "online"), "logger.mode", self.mode)


@dataclass(kw_only=True)
class EvaluationSettings:
    """What is measured of the unadapted and the adapted model."""

    test: bool
    """Measure the test split and general text; false for runs that choose settings by the validation loss alone."""
    generate: bool
    """Decode greedily and score BLEU-4 and ROUGE-L."""
    generate_before: bool
    """Decode with the unadapted backbone too."""
    max_new_tokens: int
    compare_single: int
    """Records a task that are decoded one by one as well, to report how many differ from batched decoding."""

    def __post_init__(self) -> None:
        require(self.max_new_tokens >= 1, "evaluation.max_new_tokens", self.max_new_tokens, "must be at least 1")
        require(self.compare_single >= 0, "evaluation.compare_single", self.compare_single, "must not be negative")


@dataclass(kw_only=True)
class PathSettings:
    """Where things lie."""

    results: str
    outputs: str
    data: str


def crossed_seed(repetition: int, fold: int) -> int:
    """The seed of a cell that is given none: another one in every fold, so that no single seed's luck is in all."""
    return 10 * repetition + fold


@dataclass(kw_only=True)
class Run:
    """One cell: a backbone, a method, a data mix, a fold and a seed, and how it is run."""

    model: ModelSettings
    method: Any
    """One of the settings types of `METHODS`."""
    data: DataSettings
    recipe: RecipeSettings
    trainer: TrainerSettings
    logger: LoggerSettings
    evaluation: EvaluationSettings
    paths: PathSettings
    seed: int
    fold: int
    repetition: int = 0
    """The number of this training of the fold; it decides nothing but the seed, where none is given."""
    study: str | None = None
    """The study in results/studies that the record is read from and written to; null: the user's own results/runs."""
    overwrite: bool
    """Run a finished cell again and replace its record."""
    retry: bool
    """Run a cell that has failed twice."""
    resume: str
    """auto: continue an interrupted cell; never: start it again from its first step; always: continue it with other
    versions of the packages, too."""

    def __post_init__(self) -> None:
        require(0 <= self.fold < NUM_FOLDS, "fold", self.fold, f"must be in 0..{NUM_FOLDS - 1}")
        require(self.repetition >= 0, "repetition", self.repetition, "must not be negative")
        require(self.seed >= 0, "seed", self.seed, "must not be negative")
        require_one_of(("auto", "never", "always"), "resume", self.resume)
        if self.study is not None:
            require_plain_name("study", self.study)
        self._check_strategy()
        self._check_recomputation()
        if self.model.quantize is not None:
            self._check_quantize()

    def _check_strategy(self) -> None:
        strategy = self.trainer.strategy
        double = self.recipe.precision == "float64" and strategy.startswith("zero")
        require(not double, "recipe.precision", self.recipe.precision, f"DeepSpeed ({strategy}) has no float64")

    def _check_recomputation(self) -> None:
        asked, can = self.trainer.activation_checkpointing, method_of(self.method).recomputable
        law = f"method={self.method.name} keeps tensors in a cache, which a recomputation in the backward pass has not"
        require(can or not asked, "trainer.activation_checkpointing", str(asked).lower(), law)

    def _check_quantize(self) -> None:
        quantize, name, strategy = self.model.quantize, self.method.name, self.trainer.strategy
        method = method_of(self.method)
        trains = f"four bits cannot be trained, and method={name} trains them"
        require(not method.trains_backbone, "model.quantize", quantize, trains)
        wraps = f"method={name} wraps floating-point linear layers only"
        require(method.quantizable, "model.quantize", quantize, wraps)
        whole = strategy in ("single", "ddp")
        require(whole, "model.quantize", quantize, f"trainer.strategy={strategy} cannot cut it up; ddp keeps it whole")


def refusal(method: MethodSettings, strategy: str) -> str | None:
    """Why a method cannot be trained under a strategy; None: it can."""
    reasons = method_of(method).unshardable
    if strategy not in reasons:
        return None
    others = ", ".join(other for other in STRATEGIES[1:] if other not in reasons)
    return f"method={method.name}: trainer.strategy={strategy} {reasons[strategy]}; {others} can"


def require_trainable(run: Run) -> None:
    """Raise a `ValueError` where a method cannot be trained under the strategy; a plan says so and goes on."""
    why = refusal(run.method, run.trainer.strategy)
    if why is not None:
        raise ValueError(why)
