"""Objects from their configuration, with errors a user can read."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from lvis.cli.schema import check_targets
from lvis.errors import UserError, of_the_machine
from lvis.hardware import pick_batch, pick_device, pick_precision
from lvis.solvers.consistency import EIGHT_BITS, consistency_of


def settled(cfg: DictConfig) -> DictConfig:
    """The configuration with what this machine decides in it, for results and their digests:
    `precision=auto`, and the batch of an image prior.

    Raises:
        UserError: no such device.
    """
    settled = cfg.copy()
    device = pick_device(cfg.device)
    settled.precision = pick_precision(cfg.precision, device)
    if "batch_size" in cfg.solver:
        settled.solver.batch_size = pick_batch(cfg.solver.batch_size, device)
    return settled


def build_solver(cfg: DictConfig) -> Any:
    """The composed `lvis.solvers.base.Solver` with the last step that `consistency`, `tau` and `floor` ask for.

    Raises:
        UserError: as of `build`, or a value that these keys do not take.
    """
    solver = build(cfg.solver)
    tau = solver.tau if cfg.tau is None else cfg.tau
    floor = EIGHT_BITS if cfg.floor is None else cfg.floor
    solver.consistency = consistency_of(cfg.consistency, tau, floor)
    return solver


def build(config: DictConfig) -> Any:
    """`hydra.utils.instantiate`, whose wrapping hides the sentence of a `UserError` raised inside.

    Raises:
        UserError: the one raised inside, or that a value has the wrong type.
    """
    check_targets(config)
    try:
        return instantiate(config)
    except InstantiationException as wrapper:
        error: BaseException | None = wrapper
        innermost: BaseException = wrapper
        while error is not None:
            if isinstance(error, UserError):
                raise error from None
            innermost, error = error, error.__cause__
        if (sentence := of_the_machine(innermost)) is not None:
            raise UserError(sentence) from wrapper
        reason = " ".join(str(innermost).split())
        if isinstance(innermost, ImportError | AttributeError) and "Error locating" in str(wrapper):
            raise UserError(
                f"{config._target_} cannot be imported ({reason}); check the name, and that its "
                "folder is the current one or on PYTHONPATH"
            ) from wrapper
        raise UserError(
            f"{config._target_} does not take these values ({reason}); check its keys"
        ) from wrapper
