"""Objects from their configuration, with errors a user can read."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from lvis.cli.schema import check_targets
from lvis.errors import UserError, of_the_machine


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
