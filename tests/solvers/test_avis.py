"""Algorithm 1 in one stream equals the same algorithm with the whole clip in memory and no state."""

import pytest
import torch

from lvis.backbone import flow
from lvis.errors import UserError
from lvis.operators import (
    Downsampling,
    GaussianBlur,
    Inpainting,
    LinearOperator,
    TemporalAverage,
    compose,
    conjugate_gradients,
)
from lvis.solvers import AVISSolver, InitialEstimate, ProximalCorrection, initial

SIZE = (32, 48)
CLIP = torch.rand(1, 3, 33, *SIZE, generator=torch.Generator().manual_seed(2)) * 2 - 1
SHAPE = tuple(CLIP.shape)
OPERATORS = {
    "blur": GaussianBlur(size=9, sigma=1.0),
    "inpainting": Inpainting().realise(SHAPE),
    "temporal": TemporalAverage(window=7),
    "spatiotemporal": compose(Downsampling(4), TemporalAverage(window=4)),
    "inpainting_plus": compose(Inpainting(), TemporalAverage(window=7)).realise(SHAPE),
}


def restore(solver, operator, measurement, pushes=(9, 12, 12), size=SIZE, **opening):
    with solver.open(operator, size, **opening) as stream:
        blocks = []
        for part in measurement.split(list(pushes), dim=2):
            blocks += stream.push(part)
        return torch.cat([*blocks, *stream.finish()], dim=2), stream


class Whole:
    """Algorithm 1 for batch 1 with nothing incremental: every call begins at the clip's first frame."""

    def __init__(self, solver: AVISSolver, operator: LinearOperator, measurement) -> None:
        self.solver, self.operator, self.measurement = solver, operator, measurement
        self.noise = torch.Generator().manual_seed(0)
        self.clean = torch.zeros(1, 16, 0, 4, 6)  # z of the blocks so far
        self.encoded = torch.zeros(1, 3, 0, *SIZE)  # what the encoder has been shown of them
        self.restored = torch.zeros(1, 3, 0, *SIZE)

    @torch.no_grad()
    def run(self):
        for block in range(3):
            self.restore(block)
        return self.restored

    def restore(self, block: int) -> None:
        solver = self.solver
        begin = self.restored.shape[2]
        self.frames = slice(begin, 9 + 12 * block)
        shown = self.initial()
        clean = self.encode(shown)
        for sigma in solver.sigmas(block)[:-1]:
            noisy = self.renoise(clean, sigma)
            clean = noisy - sigma * self.velocity(noisy, sigma)
            if solver.corrects(block):
                shown = self.correct(self.decode(clean))
                clean = self.encode(shown)
        self.restored = torch.cat((self.restored, self.decode(clean).clamp(-1, 1)), dim=2)
        self.clean = torch.cat((self.clean, clean), dim=2)
        self.encoded = torch.cat((self.encoded, shown), dim=2)

    def renoise(self, clean, sigma):
        return (1 - sigma) * clean + sigma * torch.randn(clean.shape, generator=self.noise)

    def encode(self, video):
        return self.solver.vae.encode(torch.cat((self.encoded, video), dim=2))[:, :, -3:]

    def decode(self, latents):
        whole = self.solver.vae.decode(torch.cat((self.clean, latents), dim=2))
        return whole[:, :, self.frames]

    def velocity(self, noisy, sigma):
        """The masked pass over the clean past and the noisy block."""
        timestep = torch.zeros(1, self.clean.shape[2] + 3)
        timestep[:, -3:] = 1000 * sigma
        latents = torch.cat((self.clean, noisy), dim=2)
        text = torch.ones(1, 2, 8)
        return self.solver.transformer(latents, timestep, text, block_size=3)[:, :, -3:]

    def apply(self, block):
        """The rows of the whole operator that measure this block, with its past: linear plus constant."""
        return self.operator(torch.cat((self.restored, block), dim=2))[:, :, self.frames]

    def adjoint(self, residual):
        padding = torch.zeros(*residual.shape[:2], self.frames.start, *residual.shape[3:])
        whole = (*residual.shape[:2], self.frames.stop, *SIZE)
        return self.operator.adjoint(torch.cat((padding, residual), dim=2), whole)[
            :, :, self.frames
        ]

    def system(self, weight, identity):
        """x -> identity x + weight A^T A x, and A^T (y - what the past contributes)."""
        zero = torch.zeros(1, 3, self.frames.stop - self.frames.start, *SIZE)
        past = self.apply(zero)
        rhs = self.adjoint(self.measurement[:, :, self.frames] - past)
        return (
            lambda x: identity * x + weight * self.adjoint(self.apply(x) - past),
            weight * rhs,
            past,
        )

    def correct(self, estimate):
        weight = self.solver.correction.weight(self.operator, (1, 3, 9, *SIZE))
        apply, rhs, _ = self.system(weight, 1.0)
        return conjugate_gradients(apply, estimate + rhs, estimate, 200, 1e-7).clamp(-1, 1)

    def initial(self):
        apply, rhs, past = self.system(1.0, 0.0)
        measurement = self.measurement[:, :, self.frames] - past
        lifted = self.solver.initial._lift(self.operator, measurement)
        if isinstance(self.operator, Inpainting):
            return lifted.clamp(-1, 1)
        return conjugate_gradients(apply, rhs, lifted, self.solver.initial.steps, 1e-6).clamp(-1, 1)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_stream_is_the_algorithm_on_the_whole_clip(name, tiny_avis):
    operator = OPERATORS[name]
    solver = tiny_avis(initial=InitialEstimate(steps=3), t0=0.3)
    measurement = operator(CLIP)
    expected = Whole(solver, operator, measurement).run()
    found, _ = restore(solver, operator, measurement)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("settings", [{"mode": "flash"}, {"mode": "flash", "reinject_every": 2}])
def test_flash_corrects_only_the_blocks_it_says(settings, tiny_avis):
    operator = OPERATORS["blur"]
    solver = tiny_avis(initial=InitialEstimate(steps=3), t0=0.3, **settings)
    corrected = [solver.corrects(block) for block in range(5)]
    assert corrected == [
        True,
        False,
        "reinject_every" in settings,
        False,
        "reinject_every" in settings,
    ]
    measurement = operator(CLIP)
    expected = Whole(solver, operator, measurement).run()
    found, _ = restore(solver, operator, measurement)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    everywhere, _ = restore(
        tiny_avis(initial=InitialEstimate(steps=3), t0=0.3), operator, measurement
    )
    torch.testing.assert_close(found[:, :, :9], everywhere[:, :, :9])
    assert not torch.allclose(found[:, :, 9:21], everywhere[:, :, 9:21], atol=1e-3)


def test_a_block_is_given_out_before_the_next_is_read(tiny_avis):
    with tiny_avis().open(OPERATORS["blur"], SIZE) as stream:
        assert not stream.push(CLIP[:, :, :8])
        assert [block.shape[2] for block in stream.push(CLIP[:, :, 8:9])] == [9]
        assert stream.time_to_first_frame is not None
        assert [block.shape[2] for block in stream.push(CLIP[:, :, 9:21])] == [12]


@pytest.mark.parametrize("frames", [33, 29, 10])
def test_grouping_of_pushes_and_an_unfinished_block_change_nothing(frames, tiny_avis):
    operator = OPERATORS["temporal"]
    measurement = operator(CLIP)[:, :, :frames]
    whole, _ = restore(tiny_avis(), operator, measurement, (frames,))
    singles, _ = restore(tiny_avis(), operator, measurement, [1] * frames)
    assert whole.shape[2] == frames
    torch.testing.assert_close(singles, whole)


def test_sides_that_no_stride_divides_are_corrected_inside_the_picture(tiny_avis):
    operator = GaussianBlur(size=9, sigma=1.0)
    clip = CLIP[..., :29, :41]
    strong = tiny_avis(correction=ProximalCorrection(gamma=1e4), t0=0.05)
    found, _ = restore(strong, operator, operator(clip), size=(29, 41))
    assert found.shape == clip.shape


def test_without_the_cache_blocks_do_not_see_the_past(tiny_avis):
    """The first block's noise decides the first block and nothing that the transformer does later."""
    operator = OPERATORS["blur"]
    with tiny_avis(use_cache=False).open(operator, SIZE) as stream:
        stream.push(operator(CLIP))
        assert stream.cache.attended_tokens == 3 * stream.cache.tokens_per_frame
        assert stream.cache.frames == 9
    with tiny_avis().open(operator, SIZE) as stream:
        stream.push(operator(CLIP))
        assert stream.cache.attended_tokens == 9 * stream.cache.tokens_per_frame


def test_noise_follows_the_seed(tiny_avis):
    operator = OPERATORS["blur"]
    first, again, other = (
        restore(tiny_avis(t0=0.5), operator, operator(CLIP), seed=seed)[0] for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    assert not torch.allclose(first, other, atol=1e-3)


def test_levels_are_literal_or_through_the_shift(tiny_avis):
    assert tiny_avis(t0=0.1, K=2).sigmas(0) == pytest.approx([0.1, 0.05, 0.0])
    warped = tiny_avis(t0=0.1, K=2, t0_warp=True, shift=5.0).sigmas(0)
    assert warped == pytest.approx([0.357, 0.208, 0.0], abs=1e-3)
    propagated = tiny_avis(t0=0.1, later_t0=1.0, K=1)
    assert (propagated.sigmas(0), propagated.sigmas(1)) == ([0.1, 0.0], [1.0, 0.0])


def test_pure_noise_forgets_the_initialisation(tiny_avis):
    solver = tiny_avis(t0=0.1, later_t0=1.0, mode="flash")
    operator = OPERATORS["blur"]
    other = operator(CLIP)
    other[:, :, 9:] = other[:, :, 9:].flip(3)
    found, _ = restore(solver, operator, operator(CLIP))
    flipped, _ = restore(solver, operator, other)
    torch.testing.assert_close(found, flipped)


def test_the_first_estimate_fits_the_measurement_better_with_more_steps():
    operator = OPERATORS["blur"]
    measurement = operator(CLIP * 0.3)
    residuals = [
        (operator(InitialEstimate(steps=steps)(operator, measurement)) - measurement).norm()
        for steps in (0, 2, 20)
    ]
    assert residuals[0] > 1.5 * residuals[1] > 4 * residuals[2]


@pytest.mark.parametrize("infill", ["nearest", "telea"])
def test_infilling_keeps_what_was_observed_and_fills_the_rest_from_near(infill):
    ramp = torch.linspace(-1, 1, SIZE[1]).expand(SHAPE).clone()
    operator = OPERATORS["inpainting"]
    filled = InitialEstimate(infill=infill)(operator, operator(ramp))
    observed = operator.observed(SHAPE).expand(SHAPE)
    torch.testing.assert_close(filled[observed], ramp[observed], atol=0.005, rtol=0)
    assert (filled - ramp).abs().max() < 0.25


def test_the_places_of_a_mask_that_does_not_move_are_looked_for_once(monkeypatch):
    operator = Inpainting(0.5).realise(SHAPE, torch.Generator().manual_seed(0))
    moving = Inpainting(0.5, per_frame=True).realise(SHAPE, torch.Generator().manual_seed(0))
    looked, nearest = [], initial._nearest
    monkeypatch.setattr(initial, "_nearest", lambda *args: looked.append(1) or nearest(*args))
    for one, expected in ((operator, 1), (moving, 2)):
        looked.clear()
        state, filled = None, []
        for _ in range(2):
            here, _ = one.block(state, SHAPE[2])
            filled.append(InitialEstimate()(here, here(CLIP)))
            state = one.advance(state, CLIP)
        assert len(looked) == expected
        assert torch.equal(*filled) == (one is operator)


def test_the_weight_is_relative_to_the_operators_norm():
    operator = Downsampling(4)
    shape = (1, 3, 1, 16, 16)
    x, y = torch.zeros(shape), torch.ones(1, 3, 1, 4, 4)
    for relative, share in ((True, 1 / 2), (False, 1 / 17)):
        correct = ProximalCorrection(gamma=1.0, relative=relative)
        corrected = correct(operator, y, x, correct.weight(operator, shape))
        torch.testing.assert_close(operator(corrected), share * y)
        by_steps = ProximalCorrection(gamma=1.0, relative=relative, steps=5)
        torch.testing.assert_close(
            by_steps(operator, y, x, correct.weight(operator, shape)), corrected
        )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"mode": "fast"}, "mode=fast is not known"),
        ({"t0": 0.0}, r"t0=0.0 is not a noise level"),
        ({"K": 0}, "K=0 is not a whole number of at least 1"),
        ({"reinject_every": 0}, "reinject_every=0"),
    ],
)
def test_settings_out_of_range_are_named(settings, sentence, tiny_avis):
    with pytest.raises(UserError, match=sentence):
        tiny_avis(**settings)


@pytest.mark.parametrize(
    ("operator", "sentence"),
    [
        (TemporalAverage(border="circular"), "reads future frames"),
        (Inpainting(space="latent"), "latent space"),
    ],
)
def test_operators_that_cannot_stream_are_refused(operator, sentence, tiny_avis):
    with pytest.raises(UserError, match=sentence):
        tiny_avis().open(operator, SIZE)


def test_flow_noise_levels_agree_with_the_paper():
    """Eq. 3 and Eq. 4: one exact velocity gives back the clean latents from any level."""
    clean, noise = torch.randn(2, 1, 16, 3, 4, 6)
    for sigma in (0.1, 0.5, 1.0):
        noisy = flow.add_noise(clean, noise, sigma)
        torch.testing.assert_close(flow.velocity_to_x0(noisy, noise - clean, sigma), clean)
