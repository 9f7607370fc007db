"""What a student sees of the operator."""

import pytest
import torch

from lvis.errors import UserError
from lvis.operators import (
    AnyOperator,
    Downsampling,
    GaussianBlur,
    Identity,
    Inpainting,
    TemporalAverage,
    compose,
)
from lvis.solvers.consistency import Consistency
from lvis.solvers.signature import (
    BANDS,
    CHANNELS,
    condition,
    latent_share,
    noise_timestep,
    responses,
    shown_mask,
)

SHAPE = (1, 3, 9, 96, 96)


def seen(operator):
    return responses(operator, Consistency().gamma(operator), SHAPE)


def test_a_wider_blur_and_more_noise_leave_less():
    wide, narrow = (
        seen(GaussianBlur(sigma=4.0, noise_std=0.02)),
        seen(GaussianBlur(sigma=1.0, noise_std=0.02)),
    )
    assert (wide <= narrow + 0.02).all() and wide.sum() < narrow.sum() - 1
    quiet = seen(GaussianBlur(sigma=4.0, noise_std=0.005))
    assert quiet.sum() > wide.sum()


def test_the_bands_tell_space_from_time():
    blur, mean = (
        seen(GaussianBlur(sigma=3.0, noise_std=0.02)),
        seen(TemporalAverage(7, noise_std=0.02)),
    )
    fine = slice(7, 10)  # the highest octave of space
    assert blur[fine].max() < 0.05 < mean[fine].min()
    assert mean[-4] > mean[-1] + 0.3  # still scenes are known, fast motion is not


def test_a_mask_has_its_share_in_every_band():
    bands = seen(Inpainting(0.3).realise(SHAPE, torch.Generator().manual_seed(0)))
    assert torch.allclose(bands, torch.full((BANDS,), 0.7), atol=0.01)
    masked_mean = compose(Inpainting(0.3), TemporalAverage(5))
    assert torch.allclose(seen(masked_mean), 0.7 * seen(TemporalAverage(5)), atol=0.01)


def test_the_channels():
    latents = torch.randn(2, 16, 3, 4, 4)
    known = condition(latents, torch.rand(1, BANDS))
    hidden = condition(latents, None)
    assert known.shape == hidden.shape == (2, 16 + CHANNELS, 3, 4, 4)
    assert torch.equal(known[:, :16], latents) and torch.equal(hidden[:, :16], latents)
    assert (hidden[:, 16:] == 0).all() and (known[:, -1] == 1).all()


def test_the_share_of_later_blocks_has_no_first_frame():
    missing = torch.zeros(1, 1, 12, 16, 16)
    missing[:, :, 4:8] = 1
    assert latent_share(missing, begins=False).flatten(3).mean(-1).tolist() == [[[0.0, 1.0, 0.0]]]


def test_noise_levels_are_timesteps():
    assert noise_timestep(0.0) == 0 and noise_timestep(0.1) == 500 and noise_timestep(3.0) == 1000


def test_the_mask_over_a_mean_is_shown():
    assert shown_mask(compose(Inpainting(0.5), TemporalAverage(3)), SHAPE) is not None
    assert shown_mask(GaussianBlur(), SHAPE) is None


def test_the_family_draws_by_its_generator_and_every_kind():
    family = AnyOperator()
    kinds = set()
    for seed in range(40):
        one, same = (
            family.realise((2, 3, 17, 48, 48), torch.Generator().manual_seed(seed))
            for _ in range(2)
        )
        x = torch.randn(2, 3, 17, 48, 48, generator=torch.Generator().manual_seed(1))
        assert torch.equal(one(x), same(x)) and one.noise_std == same.noise_std
        assert one.noise_std == 0 or 0.005 <= one.noise_std <= 0.1
        kinds.add(type(one).__name__)
    assert {"Inpainting", "Separable", "Downsampling", "TemporalAverage"} <= kinds


def test_the_family_itself_measures_nothing():
    with pytest.raises(UserError, match="task=any is a family"):
        AnyOperator()(torch.zeros(SHAPE))
    with pytest.raises(UserError, match="six numbers"):
        AnyOperator(shares=(1.0,))
    assert isinstance(
        AnyOperator(shares=(0, 0, 0, 0, 0, 1.0)).realise(SHAPE, torch.Generator()), Identity
    )
    assert isinstance(Downsampling(4), Downsampling)
