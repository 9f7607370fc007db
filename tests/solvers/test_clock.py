"""Stages nest, and on a CUDA device the host waits for none of them before it is asked."""

from itertools import accumulate
from types import SimpleNamespace

import pytest
import torch

from lvis.fakecuda import Recorder, fake_cuda
from lvis.solvers.clock import StageClock


def test_what_runs_within_an_inner_stage_counts_there_alone(monkeypatch):
    # before outer, before inner, after inner, before and after the second outer, after the first
    moments = accumulate((0.0, 1.0, 10.0, 2.0, 20.0, 4.0))
    time = SimpleNamespace(perf_counter=lambda: next(moments))
    monkeypatch.setattr("lvis.solvers.clock.time", time)
    clock = StageClock(("outer", "inner", "never"), torch.device("cpu"))
    with clock.stage("outer"):
        with clock.stage("inner"):
            pass
        with clock.stage("outer"):
            pass
    assert clock.seconds() == {"outer": 27.0, "inner": 10.0, "never": 0.0}


def test_events_take_the_place_of_waiting_on_cuda(monkeypatch):
    device = torch.device("cuda")
    recorder = Recorder()
    with fake_cuda(recorder):
        monkeypatch.setattr(torch.cuda.Event, "query", lambda _: False)  # the device is behind
        clock = StageClock(("outer", "inner"), device)
        with clock.stage("outer"), clock.stage("inner"):
            pass
        assert not recorder.events
        # each pair of events is a millisecond apart here
        assert clock.seconds() == {"outer": 0.0, "inner": pytest.approx(1e-3)}
        assert {event.detail for event in recorder.events} == {"event.synchronize"}
