"""What every process that makes training clips does first."""

import os
import signal
import threading

import cv2
import torch

# the training process heeds these; a worker that died of one would take the run with it
_IGNORED = (signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


def begin_worker(worker_id: int) -> None:
    """For DataLoader's `worker_init_fn`: one thread, and signals left to the training process."""
    # OpenCV's own threads would compete with the training step for the same cores
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    leave_signals_to_the_parent()


def leave_signals_to_the_parent() -> None:
    """Go on after signals that are sent to the whole process group or job.

    SIGTERM of the parent itself, with which it ends a worker, is heeded. A worker also ends when its parent is
    gone, which DataLoader looks after.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):  # macOS
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return
    # blocked in this thread and those it starts, so that only the one below takes it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait_for_the_parent, args=(os.getppid(),), daemon=True).start()


def _wait_for_the_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
