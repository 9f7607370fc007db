"""Flow of a translated texture, warping along it, what it hides; RAFT's file."""

import pytest
import torch
from torchvision.models.optical_flow import raft_large
from torchvision.transforms.functional import gaussian_blur

from lvis.errors import UserError
from lvis.solvers import optical_flow
from lvis.solvers.optical_flow import DISFlow, both_ways, load_optical_flow
from lvis.solvers.warping import resize_flow, resize_mask, visible, warp

MOTION = (5, -3)  # of the content, to the right and up


def moved_texture(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two frames (1, 3, H, W) of a texture that moves by MOTION."""
    noise = torch.randn(1, 3, height + 32, width + 32, generator=torch.Generator().manual_seed(0))
    texture = gaussian_blur(noise, [13, 13], [2.0, 2.0])
    texture = texture / texture.abs().max()

    def cut(right: int, down: int) -> torch.Tensor:
        return texture[..., 16 - down : 16 - down + height, 16 - right : 16 - right + width]

    return cut(0, 0), cut(*MOTION)


def constant_flow(height: int, width: int, motion=MOTION) -> torch.Tensor:
    return torch.tensor(motion).float().view(1, 2, 1, 1).expand(1, 2, height, width).clone()


def test_warping_by_a_known_shift_is_exact():
    first, second = moved_texture(40, 56)
    flow = constant_flow(40, 56)
    seen = visible(flow, -flow)
    x, y = MOTION
    assert seen[0, 0, -y:, : 56 - x].all() and seen.sum() == (40 + y) * (56 - x)
    pulled = warp(second, flow)
    torch.testing.assert_close(
        pulled[seen.expand_as(pulled)], first[seen.expand_as(first)], atol=1e-5, rtol=0
    )


def test_half_a_pixel_is_the_mean_of_two():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    pulled = warp(image, constant_flow(3, 4, (0.5, 0.0)))
    torch.testing.assert_close(pulled[..., :3], image[..., :3] + 0.5)
    torch.testing.assert_close(pulled[..., 3], image[..., 3])  # the border is continued


@pytest.mark.parametrize("size", [(32, 48), (72, 96)])
def test_the_flow_of_a_translated_texture(size):
    first, second = moved_texture(*size)
    flow, seen = both_ways(DISFlow(), first, second)
    inner = (flow - constant_flow(*size))[..., 12:-12, 12:-12]
    assert inner.norm(dim=1).mean() < 0.1
    assert seen[..., 12:-12, 12:-12].float().mean() > 0.95
    batch = DISFlow()(torch.cat((first, second)), torch.cat((second, first)))
    torch.testing.assert_close(batch[:1], flow)
    assert (batch[1] + constant_flow(*size)[0])[..., 12:-12, 12:-12].norm(dim=0).mean() < 0.1


def test_what_something_else_covers_is_not_seen():
    """A square that moves right: where it goes is covered in the second frame."""
    forward, backward = torch.zeros(1, 2, 32, 32), torch.zeros(1, 2, 32, 32)
    forward[:, 0, 8:24, 4:12] = 8
    backward[:, 0, 8:24, 12:20] = -8
    seen = visible(forward, backward)[0, 0]
    assert seen[8:24, 4:12].all()
    assert not seen[8:24, 12:20].any()
    assert seen[:8].all() and seen[24:].all()


def test_a_flow_on_a_coarser_grid_is_in_its_pixels():
    coarse = resize_flow(constant_flow(32, 48), (4, 12))
    torch.testing.assert_close(coarse, constant_flow(4, 12, (5 / 4, -3 / 8)))
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[..., :3] = True
    assert resize_mask(mask, (2, 2)).tolist() == [[[[True, False], [True, False]]]]


def test_rafts_file_is_read_and_named(tmp_path, monkeypatch):
    torch.manual_seed(0)
    state = raft_large(weights=None, progress=False).state_dict()
    torch.save(state, tmp_path / "raft.pth")
    raft = load_optical_flow(str(tmp_path / "raft.pth"))
    assert raft.name == "RAFT"
    first, second = moved_texture(36, 52)
    with torch.inference_mode():
        assert raft(first, second).shape == (1, 2, 36, 52)
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="do not fit RAFT"):
        load_optical_flow(str(tmp_path / "other.pth"))
    # a file in torch's cache that is not what its name says
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "raft.pth").rename(tmp_path / "checkpoints" / optical_flow.RAFT_FILE)
    with pytest.raises(UserError, match="damaged"):
        load_optical_flow(None)


def test_without_rafts_weights_the_flow_is_classical(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert load_optical_flow(None).name == "DIS"
    with pytest.raises(UserError, match="no weight file"):
        load_optical_flow(str(tmp_path / "raft.pth"))
