"""The recipe of the bundled `small`: its stages resume exactly, and what they pack restores."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small import gains, pack, student, vae
from small.loop import Length, Schedule, Training, averaged
from small.network import Student

from lvis.data.video import VideoWriter
from lvis.operators import Inpainting
from lvis.operators.families import AnyOperator
from lvis.solvers.student import StudentSolver
from lvis.weights import load_lean_vae, load_student
from lvis.weights.safe import read_file

SHAPES, HELD_OUT, STATISTICS = [(1, 9, 32), (1, 5, 32)], (1, 5, 32), (1, 9, 32)
SIZES = {"low_width": 16, "high_width": 32, "branch_layers": 1, "fusion_layers": 1}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (8, 10, 3), np.uint8)
        picture = cv2.resize(noise, (64, 48), interpolation=cv2.INTER_CUBIC)
        with VideoWriter(folder / f"{number}.mkv", Fraction(25), quality=5) as writer:
            for frame in range(12):
                writer.write(np.roll(picture, 2 * frame, 1))
    return folder


@pytest.fixture(scope="module")
def trained(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of each stage, interrupted after the first."""
    folder = tmp_path_factory.mktemp("trained")
    for stop_after in (1, None):
        vae.train(
            footage, folder, Length(steps=2), sizes=SIZES, shapes=SHAPES,
            held_out=HELD_OUT, statistics=STATISTICS, stop_after=stop_after,
        )  # fmt: skip
    for stop_after in (1, None):
        _train_student(footage, folder, folder, stop_after=stop_after)
    return folder


def _train_student(footage: Path, weights: Path, output: Path, **more) -> None:
    more = {"length": Length(steps=2), "schedule": Schedule(micro_batches=2), **more}
    source = str(weights / "lean_vae")
    student.train(footage, source, output, shapes=SHAPES, held_out=HELD_OUT, **more)


def test_an_interrupted_stage_ends_where_an_uninterrupted_one_does(footage, trained, tmp_path):
    _train_student(footage, trained, tmp_path)
    whole, resumed = averaged(tmp_path / "student.pt"), averaged(trained / "student.pt")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert read_file(trained / "student.pt")[0]["step"] == 2


def test_both_networks_learn(trained):
    before = dict(Student(load_lean_vae(str(trained / "lean_vae"))).named_parameters())
    after = averaged(trained / "student.pt")
    changed = [name for name, value in after.items() if not torch.equal(value, before[name])]
    assert {name.split(".")[0] for name in changed} == {"vae", "transformer"}


def test_what_is_packed_loads_and_restores(trained, tmp_path):
    pack.main([
        *("--student", str(trained / "student.pt"), "--vae", str(trained / "lean_vae")),
        *("--output", str(tmp_path)),
    ])  # fmt: skip
    transformer, record = load_student(str(tmp_path / "student_any_lean"))
    assert record["task"] == "any" and record["step"] == 2
    solver = StudentSolver(
        transformer, load_lean_vae(str(tmp_path / "lean_vae")),
        lambda prompts: torch.zeros(len(prompts), 32, 64), x_init="estimate", x_hat="residual",
        parametrization=record["parametrization"], tau=record["tau"], window=9,
    )  # fmt: skip
    x = torch.zeros(1, 3, 9, 32, 32)
    operator = Inpainting(0.5).realise(x.shape, torch.Generator().manual_seed(0))
    with solver.open(operator, (32, 32)) as stream:
        restored = torch.cat([*stream.push(operator(x)), *stream.finish()], dim=2)
    assert restored.shape == x.shape and restored.isfinite().all()


def test_an_untrained_student_gives_x_init_and_gains_nothing(trained):
    network = Student(load_lean_vae(str(trained / "lean_vae")))
    clip = torch.rand(1, 3, 5, 32, 32, generator=torch.Generator().manual_seed(0)) - 0.5
    with torch.no_grad():
        operator = AnyOperator().realise(clip.shape, torch.Generator().manual_seed(3))
        restored, estimate, _ = network(operator, operator(clip))
        scores = gains.validation(network, [clip])()
    assert torch.allclose(restored, estimate, atol=1e-4)
    assert [part.split()[0] for part in scores.split(", ")] == list(gains.tasks())
    assert "inpaint" in scores and "+0.00" in scores


def test_rates_warm_up_and_fall_to_a_hundredth():
    schedule = Schedule(rate=0.5, warmup=10)
    assert schedule.factor(0, 0.0) == pytest.approx(0.05)
    assert schedule.factor(20, 0.5) == pytest.approx(0.25)
    assert schedule.factor(20, 1.0) == pytest.approx(0.005)


def test_averages_are_what_is_left_at_the_end(tmp_path):
    parameter = torch.nn.Parameter(torch.zeros(1))
    training = Training(
        [("one", parameter)], [torch.optim.SGD([parameter], lr=1.0)], Length(steps=3),
        Schedule(warmup=1, ema_delay=1), tmp_path / "a.pt",
    )  # fmt: skip
    training.run(lambda number: -parameter.sum(), lambda: "")
    assert torch.equal(averaged(tmp_path / "a.pt")["one"], parameter)
    assert 0 < float(parameter.detach()) < 3


def test_a_stage_needs_one_length(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        vae.main(["--footage", str(tmp_path), "--output", str(tmp_path)])
    assert stop.value.code == 2
    assert "--minutes or --steps" in capsys.readouterr().err
