"""Configuration: where conf/ is, composing it, and running an entry point with errors a user can read."""

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lvis.cli.command_line import check_kinds, first_sentence, overrides_of
from lvis.cli.help_page import help_page
from lvis.cli.literal_paths import MULTIRUN, literal
from lvis.cli.schema import check_finite
from lvis.errors import UserError, of_the_machine
from lvis.memory import keep_freed_memory

_PACKAGE = Path(__file__).resolve().parents[1]
# a checkout and an editable install have conf/ beside the package, a wheel has it inside
CONF = next(path for path in (_PACKAGE.parent / "conf", _PACKAGE / "conf") if path.is_dir())

EXIT_USER_ERROR = 2
MOST_FAILED = 100  # what an exit status says of a sweep
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count


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
        raise UserError(first_sentence(error)) from error


def entry(config_name: str) -> Callable[[Callable[[DictConfig], object]], Callable[[], None]]:
    """Decorate `task(cfg)` into a `main()` that composes `conf/<config_name>.yaml` with the command line.

    A `UserError`, and whatever Hydra says about the command line, is printed as one line on standard error with exit
    status 2. Of a sweep, all jobs run, and the exit status is the number that failed. `LVIS_DEBUG=1` shows the
    traceback instead. `--help` prints the configuration's own comments.
    """

    def decorate(task: Callable[[DictConfig], object]) -> Callable[[], None]:
        guarded = Guarded(task)
        launch = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(
            guarded
        )

        def main() -> None:
            if {"--help", "-h"} & set(sys.argv[1:]):
                show(help_page(config_name, CONF, sys.argv[1:]))
                return
            keep_freed_memory()
            # argparse takes no flag between overrides
            sys.argv[1:] = sorted(literal(sys.argv[1:]), key=lambda word: word not in MULTIRUN)
            # else Hydra prints its own pages on a mistyped override, and exits with 1
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")
            try:
                check_arguments(config_name, sys.argv[1:])
                launch()
                guarded.check_sweep()
            except (UserError, HydraException, OmegaConfBaseException) as error:
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
            except KeyboardInterrupt:
                _interrupted()

        return main

    return decorate


class Guarded:
    """An entry point's task with what users cause as one sentence on standard error.

    Pickled by the name of its function, for launchers that run it in another process.
    """

    def __init__(self, task: Callable[[DictConfig], object]) -> None:
        self.task = task
        self.running = False
        self.jobs = self.failed = 0

    def __call__(self, cfg: DictConfig) -> object:
        self.jobs += 1
        if not _one_of_several():
            return self._run(cfg)
        # the rest of a sweep has nothing to do with this job; a signal ends them all
        try:
            return self._run(cfg)
        except SystemExit as end:
            if end.code != EXIT_USER_ERROR:
                raise
        except Exception:
            traceback.print_exc()
        self.failed += 1
        return None

    def check_sweep(self) -> None:
        """Raises SystemExit with the number of jobs that failed, 100 at most, if any did."""
        if self.failed:
            print(f"lvis: {self.failed} of {self.jobs} jobs failed", file=sys.stderr)
            raise SystemExit(min(self.failed, MOST_FAILED))

    def _run(self, cfg: DictConfig) -> object:
        self.running = True
        try:
            check_finite(cfg)
            done = self.task(cfg)
            self.running = False
            return done
        except UserError as error:
            fail(error)
        except InstantiationException as error:
            # Hydra wraps what a constructor raises; only the user's part of it is one sentence
            if isinstance(error.__cause__, UserError):
                fail(error.__cause__)
            if error.__cause__ and (sentence := of_the_machine(error.__cause__)) is not None:
                fail(UserError(sentence), error)
            raise
        except OmegaConfBaseException as error:
            fail(error)
        except KeyboardInterrupt:
            _interrupted()
        except BrokenPipeError:
            _reader_gone()
        except (OSError, MemoryError, RuntimeError) as error:
            if (sentence := of_the_machine(error)) is None:
                raise
            fail(UserError(sentence), error)

    def __reduce__(self) -> tuple[Callable[[str, str], "Guarded"], tuple[str, str]]:
        return _guarded, (self.task.__module__, self.task.__name__)


def _one_of_several() -> bool:
    """Whether this is a job of a sweep that runs in this process, one after the other."""
    if not HydraConfig.initialized() or HydraConfig.get().mode is not RunMode.MULTIRUN:
        return False
    return str(HydraConfig.get().launcher.get("_target_")).endswith("BasicLauncher")


def _guarded(module: str, name: str) -> Guarded:
    return Guarded(getattr(importlib.import_module(module), name))


def check_arguments(config_name: str, arguments: list[str]) -> None:
    """Values on the command line whose kind is not their default's (see `check_kinds`).

    Raises:
        UserError: names the key, its value and what it must be.
    """
    groups: list[Override] = []
    values: list[Override] = []
    for override in overrides_of(arguments):
        key = override.key_or_group
        if override.package is not None or key.startswith("hydra") or override.is_sweep_override():
            continue
        (groups if (CONF / key).is_dir() else values).append(override)
    if not values:
        return
    try:
        defaults = compose(config_name, [str(group.input_line) for group in groups])
    except UserError:
        return  # Hydra says so, too
    check_kinds(defaults, values)


def fail(error: BaseException, cause: BaseException | None = None) -> NoReturn:
    """Print one sentence and exit with status 2; with LVIS_DEBUG=1, raise `error` (from `cause`) instead."""
    if os.environ.get("LVIS_DEBUG") == "1":
        raise error from cause
    print(f"lvis: {first_sentence(error)}", file=sys.stderr)
    raise SystemExit(EXIT_USER_ERROR) from None


def show(text: str) -> None:
    """Print to standard output, which `head` may close before it has all of it."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _discard_output()


def _discard_output() -> None:
    # else the interpreter complains again when it flushes at its end
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupted() -> NoReturn:
    print("lvis: interrupted", file=sys.stderr)
    raise SystemExit(EXIT_INTERRUPTED) from None


def _reader_gone() -> NoReturn:
    _discard_output()
    fail(UserError("the program that reads standard output closed it; nothing more was written"))


def plain(cfg: DictConfig) -> dict:
    """The configuration as plain dicts and lists, interpolations resolved."""
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]
