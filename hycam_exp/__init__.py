"""HyCAM for any Hugging Face causal model, and the benchmark around it.

    from hycam_exp import HyCAMConfig
    model = get_peft_model(model, HyCAMConfig())

Importing this package is light; touching a config's name, or `import hycam_exp.methods`, registers with PEFT.
"""

from typing import Any

_PUBLIC = {
    "HyCAMConfig": "hycam_exp.methods.hycam",
    "MultiLoRAConfig": "hycam_exp.methods.multi_lora",
    "RieMoELoRAConfig": "hycam_exp.methods.riemoe_lora",
    "HydraLoRAConfig": "hycam_exp.methods.hydralora",
    "CoMoLConfig": "hycam_exp.methods.comol",
    "MTLLoRAConfig": "hycam_exp.methods.mtl_lora",
    "MOELoRAConfig": "hycam_exp.methods.moelora",
    "LoRAMoEConfig": "hycam_exp.methods.loramoe",
    "MoLAConfig": "hycam_exp.methods.mola",
    "MixLoRAConfig": "hycam_exp.methods.mixlora",
    "MtLoRAConfig": "hycam_exp.methods.mtlora",
}
__all__ = [
    "CoMoLConfig",
    "HyCAMConfig",
    "HydraLoRAConfig",
    "LoRAMoEConfig",
    "MOELoRAConfig",
    "MTLLoRAConfig",
    "MoLAConfig",
    "MultiLoRAConfig",
    "RieMoELoRAConfig",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first touched (PEP 562)."""
    from importlib import import_module

    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module("hycam_exp.methods")
    return getattr(import_module(_PUBLIC[name]), name)
