"""What training changes, as tensors with names: the nets, the student's average, both optimisers' moments.

Nothing frozen is in it. Sharded tensors (FSDP2) stay sharded.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lvis.distill.ema import Average
from lvis.distill.lora import trained
from lvis.distill.optimiser import place_steps
from lvis.distill.parallel import own_part, own_rows
from lvis.errors import UserError


class Rows(Protocol):
    """Where saved tensors come from (see checkpoints.py)."""

    def names(self) -> set[str]: ...

    def rows(self, name: str, begin: int, end: int) -> Tensor: ...


class TrainingState:
    """The tensors of one distillation.

    Args:
        nets: trained nets by name.
        average: of the student.
        optimizers: by the net they update.
    """

    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        average: Average,
        optimizers: Mapping[str, torch.optim.Optimizer],
    ) -> None:
        self.nets, self.average, self.optimizers = nets, average, optimizers

    def tensors(self) -> dict[str, Tensor]:
        """`student/<parameter>`, `average/<parameter>`, `student_optimizer/<parameter>/<moment>`, ...

        The tensors themselves, not copies.
        """
        found = {name: parameter.detach() for name, parameter in self._parameters()}
        found |= {f"average/{name}": value for name, value in self.average.values.items()}
        for net, name, parameter in self._trained():
            for moment, value in self.optimizers[net].state.get(parameter, {}).items():
                found[f"{net}_optimizer/{name}/{moment}"] = torch.as_tensor(value)
        return found

    @torch.no_grad()
    def load(self, saved: Rows) -> None:
        """Take over saved tensors, each process its own rows, whatever number of processes saved them.

        An average or moments that were not saved begin anew.

        Raises:
            UserError: a parameter is missing or has another shape, or there are tensors too many.
        """
        left = saved.names()
        for name, parameter in self._parameters():
            _fill(own_part(parameter), saved, name, own_rows(parameter))
            left.discard(name)
        averages = {f"average/{name}" for name in self.average.values}
        if averages <= left:
            for name, value in self.average.values.items():
                _fill(own_part(value), saved, f"average/{name}", own_rows(value))
        else:
            self.average.restart()
        left -= {name for name in left if name.startswith("average/")}
        for net, name, parameter in self._trained():
            prefix = f"{net}_optimizer/{name}/"
            moments = sorted(saved_name for saved_name in left if saved_name.startswith(prefix))
            state: dict[str, Any] = {}
            for moment in moments:
                key = moment.removeprefix(prefix)
                # AdamW's own step is a number beside moments of the parameter's shape
                scalar = key == "step"
                value = torch.zeros(()) if scalar else torch.zeros_like(parameter)
                rows = (0, 1) if scalar else own_rows(parameter)
                _fill(own_part(value), saved, moment, rows)
                state[key] = value
            if state:
                self.optimizers[net].state[parameter] = state
            left -= set(moments)
        for optimizer in self.optimizers.values():
            place_steps(optimizer)
        if left:
            raise UserError(
                f"the checkpoint has tensors that this run lacks ({min(left)} and {len(left) - 1}"
                " more): it belongs to another run; choose another hydra.run.dir"
            )

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for net, name, parameter in self._trained():
            yield f"{net}/{name}", parameter

    def _trained(self) -> Iterator[tuple[str, str, nn.Parameter]]:
        for net, module in self.nets.items():
            for name, parameter in trained(module):
                yield net, name, parameter


def _fill(target: Tensor, saved: Rows, name: str, rows: tuple[int, int]) -> None:
    if name not in saved.names():
        raise UserError(
            f"the checkpoint lacks {name}: it belongs to another run; choose another hydra.run.dir"
        )
    value = saved.rows(name, *rows)
    if value.shape != target.shape:
        raise UserError(
            f"the checkpoint's {name} is {tuple(value.shape)} and this run's {tuple(target.shape)}:"
            " it belongs to another run; choose another hydra.run.dir"
        )
    target.copy_(value)
