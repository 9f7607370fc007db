"""An exponential moving average of the student's parameters."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lvis.distill.lora import trained


class Average:
    """Float32 average of a module's trained parameters: average <- decay average + (1 - decay) parameter.

    torch's `AveragedModel`, which `lvis.pretrain` uses, copies the module: modules that FSDP2 has
    sharded refuse that, and frozen parameters beside LoRA's would be held twice.

    Args:
        module: whose parameters are averaged; the average begins at their present values.
        decay: in [0, 1); 0 means off: the average is the module itself and costs no memory.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.module = module
        self.decay = decay
        self.values: dict[str, Tensor] = {}
        self.restart()

    @torch.no_grad()
    def update(self) -> None:
        """Take in the module's present parameters."""
        if not self.values:
            return
        for name, parameter in trained(self.module):
            average = self.values[name]
            if average.device != parameter.device:
                average = self.values[name] = average.to(parameter.device)
            average.lerp_(parameter.float(), 1 - self.decay)

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[nn.Module]:
        """The module with the average as its parameters, for as long as the block lasts."""
        before = {
            name: parameter.detach().clone()
            for name, parameter in trained(self.module)
            if name in self.values
        }
        self._write(self.values)
        try:
            yield self.module
        finally:
            self._write(before)

    def _write(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self.module.named_parameters():
            if name in values:
                parameter.data.copy_(values[name])

    def restart(self) -> None:
        """Begin at the module's present parameters."""
        if self.decay > 0:
            self.values = {name: p.detach().float().clone() for name, p in trained(self.module)}
