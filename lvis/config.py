"""Configuration: where conf/ is, composing it, and running an entry point with errors a user can read."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lvis.errors import UserError
from lvis.memory import keep_freed_memory

_PACKAGE = Path(__file__).resolve().parent
# a checkout and an editable install have conf/ beside the package, a wheel has it inside
CONF = next(path for path in (_PACKAGE.parent / "conf", _PACKAGE / "conf") if path.is_dir())

EXIT_USER_ERROR = 2


def compose(config_name: str, overrides: list[str] | tuple[str, ...] = ()) -> DictConfig:
    """The composed configuration, for tests and notebooks (entry points use `entry`).

    Raises:
        UserError: an unknown key, group or option.
    """
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra.compose(config_name, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_first_sentence(error)) from error


def entry(config_name: str) -> Callable[[Callable[[DictConfig], object]], Callable[[], None]]:
    """Decorate `task(cfg)` into a `main()` that composes `conf/<config_name>.yaml` with the command line.

    A `UserError`, and whatever Hydra says about the command line, is printed as one line on standard error with exit
    status 2. `LVIS_DEBUG=1` shows the traceback instead.
    """

    def decorate(task: Callable[[DictConfig], object]) -> Callable[[], None]:
        guarded = Guarded(task)
        launch = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(
            guarded
        )

        def main() -> None:
            keep_freed_memory()
            # else Hydra prints its own pages on a mistyped override, and exits with 1
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")
            try:
                launch()
            except (HydraException, OmegaConfBaseException) as error:
                fail(error)
            except OSError as error:
                # Hydra makes the folder of a run before the task begins; what a task raises is its own
                if guarded.running:
                    raise
                fail(
                    UserError(
                        f"cannot write {error.filename}: {error.strerror}; choose another place"
                    )
                )

        return main

    return decorate


class Guarded:
    """An entry point's task with what users cause as one sentence on standard error.

    Pickled by the name of its function, for launchers that run it in another process: by value, as cloudpickle takes
    what is in `__main__`, it would bring along whatever its module holds.
    """

    def __init__(self, task: Callable[[DictConfig], object]) -> None:
        self.task = task
        self.running = False

    def __call__(self, cfg: DictConfig) -> object:
        self.running = True
        try:
            done = self.task(cfg)
            self.running = False
            return done
        except UserError as error:
            fail(error)
        except InstantiationException as error:
            # Hydra wraps what a constructor raises; only the user's part of it is one sentence
            if isinstance(error.__cause__, UserError):
                fail(error.__cause__)
            raise
        except OmegaConfBaseException as error:
            fail(error)
        except KeyboardInterrupt:
            print("lvis: interrupted", file=sys.stderr)
            raise SystemExit(130) from None

    def __reduce__(self) -> tuple[Callable[[str, str], "Guarded"], tuple[str, str]]:
        module = self.task.__module__
        if module == "__main__":  # python -m lvis.evaluate
            module = sys.modules["__main__"].__spec__.name  # type: ignore[union-attr]
        return _guarded, (module, self.task.__name__)


def _guarded(module: str, name: str) -> Guarded:
    return Guarded(getattr(importlib.import_module(module), name))


def fail(error: BaseException) -> NoReturn:
    """Print one sentence and exit with status 2; with LVIS_DEBUG=1, raise instead."""
    if os.environ.get("LVIS_DEBUG") == "1":
        raise error
    print(f"lvis: {_first_sentence(error)}", file=sys.stderr)
    raise SystemExit(EXIT_USER_ERROR) from None


def plain(cfg: DictConfig) -> dict:
    """The configuration as plain dicts and lists, interpolations resolved."""
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


def _first_sentence(error: BaseException) -> str:
    """The error in one line: Hydra's lists of options with commas, without where it looked for them."""
    text = str(error).split("Config search path:")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    options = [line.strip() for line in text.splitlines() if line.startswith("\t")]
    if options and lines[-len(options) :] == options:
        return " ".join([*lines[: -len(options)], ", ".join(options)])
    return " ".join(lines[:3]) if lines else type(error).__name__
