"""Stages nest, and on a CUDA device the host waits for none of them before it is asked."""

import time

import pytest
import torch

from lvis.fakecuda import Recorder, fake_cuda
from lvis.solvers.clock import StageClock


def test_what_runs_within_an_inner_stage_counts_there_alone():
    clock = StageClock(("outer", "inner", "never"), torch.device("cpu"))
    with clock.stage("outer"):
        with clock.stage("inner"):
            time.sleep(0.05)
        with clock.stage("outer"):
            time.sleep(0.02)
    seconds = clock.seconds()
    assert seconds["inner"] >= 0.05
    assert 0.02 <= seconds["outer"] < 0.05
    assert seconds["never"] == 0


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
