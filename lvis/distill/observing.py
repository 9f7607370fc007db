"""What becomes of the first process of a run when one that Lightning has started beside it ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from lightning import Callback, Trainer

GRACE = 300.0  # seconds in which the first process may save and say why
POLL_SECONDS = 1.0


class Observing(Callback):
    """Gives the first process time to end by itself before it is killed because another one has ended.

    Lightning kills it at most 5 s after another process has ended with a status other than 0, which they all do after
    a signal or an error, and the first one may still be saving, or finishing its logger's run. Without any observer,
    a collective (NCCL) could wait for a lost process for as long as the job lasts.

    Args:
        grace: seconds.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.grace = grace

    def setup(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        launcher: Any = trainer.strategy.launcher
        observed: list[subprocess.Popen[bytes]] = getattr(launcher, "procs", [])
        if not observed:
            return
        processes = list(observed)
        launcher.procs = processes
        observed.clear()  # Lightning's observer has this list, and ends once nobody is on it
        threading.Thread(target=_observe, args=(processes, self.grace), daemon=True).start()


def _observe(processes: Sequence[subprocess.Popen[bytes]], grace: float) -> None:
    while not any(process.poll() for process in processes):
        time.sleep(POLL_SECONDS)
    time.sleep(grace)
    print(
        f"lvis: another process of this run ended {grace:g} s ago, and this one still waits for it: "
        "killed; run the same command again to continue from the newest checkpoint",
        file=sys.stderr,
        flush=True,
    )
    for process in processes:
        process.kill()
    os.kill(os.getpid(), signal.SIGKILL)
