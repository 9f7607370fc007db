"""deepinv's physics in our solvers and ours in theirs, tested against deepinv itself."""

import pytest
import torch

from lvis.errors import UserError
from lvis.operators import Downsampling, GaussianBlur, Inpainting, from_deepinv, to_deepinv
from lvis.solvers.pinv import PinvSolver

deepinv = pytest.importorskip("deepinv", reason="deepinv is an extra: pip install 'lvis[deepinv]'")

SIZE = (20, 24)


def video(channels: int = 3, frames: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, channels, frames, *SIZE, generator=generator) * 2 - 1


def theirs(kind: str) -> "deepinv.physics.LinearPhysics":
    kernel = deepinv.physics.blur.gaussian_blur(1.0)
    shape = (3, *SIZE)
    if kind == "blur":
        return deepinv.physics.Blur(kernel, padding="reflect")
    if kind == "fft blur":
        return deepinv.physics.BlurFFT(img_size=shape, filter=kernel)
    if kind == "downsampling":
        return deepinv.physics.Downsampling(img_size=shape, filter="gaussian", factor=2)
    if kind == "mask":
        return deepinv.physics.Inpainting(img_size=shape, mask=0.6)
    return deepinv.physics.Inpainting(
        img_size=shape, mask=0.6, pixelwise=False, rng=torch.Generator().manual_seed(0)
    )


KINDS = ["blur", "fft blur", "downsampling", "mask", "mask per channel"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_measured_as_deepinv_measures_an_image(kind):
    physics, x = theirs(kind), video()
    operator = from_deepinv(physics)
    expected = torch.stack([physics.A(x[:, :, frame]) for frame in range(x.shape[2])], dim=2)
    torch.testing.assert_close(operator(x), expected)
    assert operator.measurement_shape(x.shape) == expected.shape
    assert operator.video_shape(expected.shape) == x.shape
    assert operator.lift(expected).shape == x.shape


@pytest.mark.parametrize("kind", KINDS)
def test_adjoint_pseudo_inverse_and_proximal_map_are_those_of_the_map(kind):
    operator, x = from_deepinv(theirs(kind)).double(), video().double()
    y = operator(x)
    other = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    assert operator.streamable
    torch.testing.assert_close((y * other).sum(), (x * operator.adjoint(other, x.shape)).sum())
    # normal equations of both, whatever computed them
    residual = operator.adjoint(operator(operator.pinv(y)) - y, x.shape)
    assert residual.norm() < 1e-3 * operator.adjoint(y, x.shape).norm()
    for gamma in (3.0, torch.tensor([0.5, 3.0], dtype=x.dtype)):
        z = operator.prox(x, other, gamma)
        weight = gamma if isinstance(gamma, float) else gamma.reshape(-1, 1, 1, 1, 1)
        gradient = weight * operator.adjoint(operator(z) - other, x.shape) + z - x
        assert gradient.norm() < 1e-4 * z.norm()


@pytest.mark.parametrize("kind", ["blur", "fft blur", "mask"])
def test_a_clip_is_streamed_through_our_solver_and_gives_what_deepinv_gives(kind):
    physics, x = theirs(kind), video(frames=23)
    operator = from_deepinv(physics)
    y = operator(x)
    with PinvSolver().open(operator, SIZE, batch=2) as stream:
        restored = torch.cat(
            [*stream.push(y[:, :, :11]), *stream.push(y[:, :, 11:]), *stream.finish()], dim=2
        )
    assert restored.shape == x.shape
    if kind == "blur":  # not invertible in closed form: what remains is in the measurement
        assert (operator(restored) - y).norm() < 0.05 * y.norm()
    else:
        frames = [physics.A_dagger(y[:, :, n]).clamp(-1, 1) for n in range(x.shape[2])]
        torch.testing.assert_close(restored, torch.stack(frames, dim=2), atol=1e-4, rtol=1e-4)


def test_a_shared_mask_becomes_ours_so_that_holes_can_be_filled():
    operator = from_deepinv(theirs("mask"))
    assert isinstance(operator, Inpainting)
    missing = operator.missing((1, 3, 4, *SIZE))
    assert missing is not None and 0.3 < float(missing.mean()) < 0.5
    assert not isinstance(from_deepinv(theirs("mask per channel")), Inpainting)


def test_physics_on_videos_take_the_whole_clip():
    kernel = torch.ones(1, 1, 3, 3, 3) / 27
    physics, x = deepinv.physics.Blur(kernel, padding="circular"), video()
    operator = from_deepinv(physics, per_frame=False)
    torch.testing.assert_close(operator(x), physics.A(x))
    assert not operator.streamable
    with pytest.raises(UserError, match="cannot be streamed"):
        operator.block(None, 5)


def test_gaussian_noise_is_kept_and_any_other_is_refused():
    physics = theirs("blur")
    physics.set_noise_model(deepinv.physics.GaussianNoise(sigma=0.05))
    operator, x = from_deepinv(physics), video()
    noise = operator.measure(x, torch.Generator().manual_seed(0)) - operator(x)
    assert operator.noise_std == pytest.approx(0.05)
    assert float(noise.std()) == pytest.approx(0.05, rel=0.05)
    physics.set_noise_model(deepinv.physics.PoissonNoise())
    with pytest.raises(UserError, match="PoissonNoise is not Gaussian"):
        from_deepinv(physics)
    with pytest.raises(UserError, match="Haze is not a deepinv.physics.LinearPhysics"):
        from_deepinv(deepinv.physics.Haze())


def ours() -> list:
    mask = Inpainting(missing_share=0.4).realise((1, 3, 1, *SIZE))
    return [GaussianBlur(size=7, sigma=1.0, border="reflect"), Downsampling(2), mask]


@pytest.mark.parametrize("operator", ours(), ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("frames", [None, 4], ids=["images", "videos"])
def test_our_operators_are_physics_with_an_exact_adjoint(operator, frames):
    physics = to_deepinv(operator)
    x = video(frames=frames or 1)[:1]
    x = x if frames else x[:, :, 0]
    assert float(physics.adjointness_test(x)) < 1e-5
    y = physics.A(x)
    assert y.ndim == x.ndim
    whole = (lambda v: v) if frames else (lambda v: v[:, :, None])
    torch.testing.assert_close(whole(y), operator(whole(x)))
    torch.testing.assert_close(whole(physics.A_dagger(y)), operator.pinv(whole(y)))
    torch.testing.assert_close(
        whole(physics.prox_l2(x, y, 2.0)), operator.prox(whole(x), whole(y), 2.0)
    )
    assert physics.prox_l2(None, y, 2.0).shape == x.shape


def test_there_and_back_is_the_same_operator():
    for operator in ours():
        assert from_deepinv(to_deepinv(operator)) is operator
    louder = to_deepinv(ours()[0])
    louder.set_noise_model(deepinv.physics.GaussianNoise(sigma=0.2))
    back, x = from_deepinv(louder), video()
    assert back.noise_std == pytest.approx(0.2)
    torch.testing.assert_close(back(x), ours()[0](x))
    torch.testing.assert_close(back.adjoint(x), ours()[0].adjoint(x))


def test_a_solver_of_deepinv_s_gives_with_our_operator_what_it_gives_with_its_own():
    """Plug-and-play half-quadratic splitting with total variation, by way of our closed-form proximal map."""
    operator = GaussianBlur(size=7, sigma=1.0, border="circular", rcond=0.0)
    physics = to_deepinv(operator)
    spike = torch.zeros(1, 1, *SIZE)
    spike[..., 10, 12] = 1.0
    kernel = physics.A(spike)[..., 7:14, 9:16]
    own = deepinv.physics.BlurFFT(img_size=(3, *SIZE), filter=kernel)
    x = torch.zeros(1, 3, *SIZE)
    x[..., 6:14, 8:16] = 1.0
    y = own(x)
    torch.testing.assert_close(physics(x), y)

    def solve(with_physics: "deepinv.physics.LinearPhysics") -> torch.Tensor:
        # a prior of its own: deepinv's starts where it stopped the last time
        solver = deepinv.optim.HQS(
            data_fidelity=deepinv.optim.L2(),
            prior=deepinv.optim.TVPrior(n_it_max=20),
            lambda_reg=0.002,
            stepsize=5.0,
            max_iter=20,
        )
        with torch.no_grad():
            return solver(y, with_physics)

    restored, expected = solve(physics), solve(own)
    torch.testing.assert_close(restored, expected, atol=1e-3, rtol=1e-3)
    assert (restored - x).square().mean() < 0.5 * (y - x).square().mean()


def test_noise_of_ours_is_added_by_deepinv():
    physics = to_deepinv(GaussianBlur(size=7, sigma=1.0, border="reflect", noise_std=0.1))
    x = video()
    assert float((physics(x) - physics.A(x)).std()) == pytest.approx(0.1, rel=0.05)
