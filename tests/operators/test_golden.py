"""Against what the official codes make of one clip (the tensor names say which)."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lvis.operators import Downsampling, GaussianBlur, TemporalAverage

GOLDEN = load_file(Path(__file__).parents[1] / "fixtures" / "operators.safetensors")
TOLERANCE = 1e-4


def official(name: str) -> torch.Tensor:
    """(T, C, H, W) as the codes have it -> (1, C, T, H, W)."""
    return GOLDEN[name].movedim(0, 1)[None]


SPATIAL = {
    "downsample4.average_pool": Downsampling(filter="average"),
    "downsample4.cubic_antialias": Downsampling(filter="cubic"),
    "gaussian_blur61_s3.reflect": GaussianBlur(border="reflect"),
    "gaussian_blur61_s3.zero": GaussianBlur(border="zero"),
    "gaussian_blur61_s3.dps": GaussianBlur(border="reflect", truncate=4),
}
TEMPORAL = {
    "temporal_average7.circular": TemporalAverage(border="circular"),
    "temporal_average7.replicate": TemporalAverage(border="replicate"),
}


@pytest.mark.parametrize("name", SPATIAL)
def test_spatial_operators_agree_with_the_official_codes(name):
    ours = SPATIAL[name](official("frames"))
    torch.testing.assert_close(ours, official(name), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", TEMPORAL)
def test_temporal_averages_agree_with_the_official_codes(name):
    ours = TEMPORAL[name](official("clip"))
    torch.testing.assert_close(ours, official(name), rtol=0, atol=TOLERANCE)


def test_the_goldens_tell_the_variants_apart():
    reflect = GaussianBlur(border="reflect")(official("frames"))
    assert (reflect - official("gaussian_blur61_s3.zero")).abs().max() > 100 * TOLERANCE
    cubic = Downsampling(filter="cubic")(official("frames"))
    assert (cubic - official("downsample4.average_pool")).abs().max() > 100 * TOLERANCE
    circular = TemporalAverage(border="circular")(official("clip"))
    assert (circular - official("temporal_average7.replicate")).abs().max() > 100 * TOLERANCE
