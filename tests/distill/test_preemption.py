"""Signals are kept until a step boundary sees them."""

import signal

import torch
from torch import distributed

from lvis.distill.preemption import EXIT_REQUEUE, Preemption


def test_a_signal_that_comes_while_processes_wait_for_each_other_is_seen_at_the_next_step(
    monkeypatch,
):
    preemption = Preemption()

    def all_reduce(flag, op):
        preemption(signal.SIGUSR1, None)

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "all_reduce", all_reduce)
    cpu = torch.device("cpu")
    assert not preemption.asked(cpu)
    assert preemption.asked(cpu)
    assert preemption.exit_code == EXIT_REQUEUE


def test_a_signal_of_another_process_is_taken_over(monkeypatch):
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "all_reduce", lambda flag, op: flag.fill_(signal.SIGTERM))
    preemption = Preemption()
    assert preemption.asked(torch.device("cpu"))
    assert preemption.signal == signal.SIGTERM
