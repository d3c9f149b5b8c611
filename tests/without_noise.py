"""The command with HyCAM's Gumbel noise off: `python -m tests.without_noise`, under torchrun too."""

import torch

from hycam_exp.__main__ import main
from hycam_exp.methods import hycam_layer

if __name__ == "__main__":
    hycam_layer.gumbel_noise = torch.zeros_like
    main()
