"""A student that starts from x_init, sees the operator and is held to the measurement."""

import pytest
import torch
from torch import nn

from lvis.distill.build import with_channels
from lvis.distill.losses import Losses
from lvis.distill.randomness import Draws
from lvis.distill.self_supervision import splitting
from lvis.distill.settings import Settings
from lvis.errors import UserError
from lvis.operators import (
    AnyOperator,
    Downsampling,
    GaussianBlur,
    Inpainting,
    TemporalAverage,
    Unknown,
)
from lvis.solvers.consistency import Consistency
from lvis.solvers.signature import CHANNELS
from lvis.solvers.student import StudentSolver

OURS = {
    "x_init": "estimate",
    "x_hat": "residual",
    "consistency": "prox",
    "tau": 0.03,
    "parametrization": "residual",
}
DRAWS = Draws(0, 0, range(1))


@pytest.fixture
def make_ours(make_losses, settings_values):
    def make(operator, vae="lean", **changes) -> Losses:
        losses = make_losses(vae, operator)
        losses.student = with_channels(losses.student, CHANNELS).eval()
        with torch.no_grad():
            # channels that count, so that a wrong signature shows
            nn.init.normal_(losses.student.net.patch_embedding.weight, std=0.1)
        return Losses(
            student=losses.student,
            teacher=losses.teacher,
            critic=losses.critic,
            student_vae=losses.student_vae,
            teacher_vae=losses.teacher_vae,
            operator=operator,
            encode_text=losses.encode_text,
            settings=Settings.of({**settings_values, **OURS, **changes}),
        )

    return make


OPERATORS = {
    "blur": GaussianBlur(size=9, sigma=1.5, noise_std=0.02),
    "mask": Inpainting(0.5, per_frame=True, noise_std=0.02),
    "x4": Downsampling(4),
    "mean": TemporalAverage(4, noise_std=0.01),
    "unknown": Unknown(),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_training_sees_what_a_stream_gives_out(make_ours, make_batch, name):
    losses = make_ours(OPERATORS[name])
    with torch.no_grad():
        measurement = losses.measure(make_batch(1)["video"], [""], DRAWS["measurement"])
        trained = losses.restore(measurement.y, measurement.operator, [""]).clamp(-1, 1)
    solver = StudentSolver(
        losses.student,
        losses.student_vae,
        losses.encode_text,
        parametrization="residual",
        x_init="estimate",
        x_hat="residual",
    )
    assert solver.conditioned and solver.tau == 0.03
    solver.consistency = Consistency(solver.tau)
    with solver.open(measurement.operator, size=(32, 32)) as stream:
        streamed = torch.cat([*stream.push(measurement.y), *stream.finish()], dim=2)
    assert torch.allclose(streamed, trained, atol=2e-4)
    assert not torch.allclose(streamed, measurement.operator.lift(measurement.y), atol=0.05)


def test_the_strength_leads_from_x_init_to_the_student(make_ours, make_batch):
    losses = make_ours(OPERATORS["blur"])
    measurement = losses.measure(make_batch(1)["video"], [""], DRAWS["measurement"])
    x_init = losses.prepare(measurement.y, measurement.operator).x_init

    def at(strength: float) -> torch.Tensor:
        solver = StudentSolver(
            losses.student,
            losses.student_vae,
            losses.encode_text,
            parametrization="residual",
            x_init="estimate",
            x_hat="residual",
            strength=strength,
        )
        with solver.open(measurement.operator, size=(32, 32)) as stream:
            return torch.cat([*stream.push(measurement.y), *stream.finish()], dim=2)

    assert torch.allclose(at(0.0), x_init, atol=1e-5)
    whole, half = at(1.0), at(0.5)
    inside = (whole.abs() < 0.99) & (half.abs() < 0.99)
    middle = (x_init + whole) / 2
    assert torch.allclose(half[inside], middle[inside], atol=1e-4)


def test_more_channels_change_nothing_at_first(make_losses):
    teacher = make_losses().teacher
    wider = with_channels(teacher, CHANNELS)
    latents = torch.randn(1, 16, 3, 4, 4)
    more = torch.cat((latents, torch.randn(1, CHANNELS, 3, 4, 4)), dim=1)
    arguments = (torch.tensor([400.0]), torch.zeros(1, 4, 8))
    assert torch.allclose(wider(more, *arguments), teacher(latents, *arguments), atol=1e-6)


def test_no_loss_knows_the_clean_clip_unless_it_is_asked_to(make_ours, make_batch):
    batch = make_batch(1)
    for weight, known in ((0.0, False), (1.0, True)):
        losses = make_ours(OPERATORS["blur"], supervision=weight)
        measurement = losses.measure(batch["video"], [""], DRAWS["measurement"])
        assert (measurement.clean is not None) == known
        terms, _ = losses.student_terms(measurement, DRAWS, 0.0, False)
        assert ("supervision" in terms) == known


@pytest.mark.parametrize("term", ["splitting", "operators", "equivariance"])
def test_self_supervision_reaches_the_student(make_ours, make_batch, term):
    family = AnyOperator(shares=(1, 0, 0, 0, 0, 0)) if term == "operators" else Inpainting(0.4)
    losses = make_ours(family, self_supervision=term, likelihood_weight=0.0)
    measurement = losses.measure(make_batch(1)["video"], [""], DRAWS["measurement"])
    terms, _ = losses.student_terms(measurement, DRAWS, 0.0, False)
    terms["total"].backward()
    assert terms["self_supervision"] > 0
    assert sum(float(p.grad.abs().sum()) for p in losses.student.parameters() if p.grad is not None)


def test_hidden_pixels_are_not_shown():
    seen = []

    def restore(y, operator):
        seen.append((y, operator))
        return torch.zeros_like(y, requires_grad=True)

    operator = Inpainting(0.5).realise((1, 3, 9, 32, 32), torch.Generator().manual_seed(0))
    y = operator(torch.ones(1, 3, 9, 32, 32))
    error = splitting(y, operator, restore, torch.Generator().manual_seed(1))
    shown, rest = seen[0]
    assert error == 1  # nothing was predicted, and the hidden pixels are ones
    assert torch.equal(rest(shown), shown)
    hidden = (y - shown).abs().sum() / y.sum()
    assert 0.07 < hidden < 0.13
    assert splitting(y, GaussianBlur(), restore, torch.Generator()) is None


def test_the_prior_sees_what_is_given_out(make_ours, make_batch):
    losses = make_ours(OPERATORS["blur"], vae="wan")
    measurement = losses.measure(make_batch(1)["video"], [""], DRAWS["measurement"])
    _, target = losses.student_terms(measurement, DRAWS, 1.0)
    with torch.no_grad():
        x_hat = losses.restore(measurement.y, measurement.operator, [""])
        expected = losses.teacher_vae.encode(x_hat)
    assert torch.allclose(target, expected, atol=1e-4)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"x_hat": "residual", "x_init": "lift"}, "set solver.x_init=estimate"),
        ({"strength": 0.5}, "strength=0.5 is for students with a residual x_hat"),
        (
            {"x_hat": "residual", "x_init": "estimate", "strength": 2},
            "strength=2 is not a number from 0 to 1",
        ),
        ({"x_hat": "both"}, "x_hat=both is not known"),
    ],
)
def test_options_that_do_not_go_together(make_losses, changes, message):
    losses = make_losses("lean")
    with pytest.raises(UserError, match=message):
        StudentSolver(losses.student, losses.student_vae, losses.encode_text, **changes)
