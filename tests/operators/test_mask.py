"""Masks: exact share, reproducible draws, and a user's own in every form."""

import av
import numpy as np
import pytest
import torch
from PIL import Image

from lvis.errors import UserError
from lvis.operators import Inpainting, TemporalAverage, compose
from tests.operators.operators import video

SHAPE = (3, 3, 9, 20, 30)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("per_frame", [False, True])
def test_the_share_is_exact_in_every_frame(share, per_frame):
    missing = Inpainting(missing_share=share, per_frame=per_frame).missing(SHAPE)
    counts = missing.sum(dim=(1, 3, 4))
    assert (counts == round(share * 600)).all()
    assert missing.shape == (3, 1, 9 if per_frame else 1, 20, 30)


def test_missing_places_are_mid_grey_and_the_others_untouched():
    operator = Inpainting()
    x = video(0, torch.float32, SHAPE)
    y = operator(x)
    hidden = operator.missing(SHAPE).bool().expand_as(x)
    assert (y[hidden] == 0).all()
    assert torch.equal(y[~hidden], x[~hidden])


def test_samples_and_frames_have_masks_of_their_own():
    clip = Inpainting().missing(SHAPE)
    assert not torch.equal(clip[0], clip[1])
    frames = Inpainting(per_frame=True).missing(SHAPE)
    assert not torch.equal(frames[0, :, 0], frames[0, :, 1])
    assert frames.mean(dim=2).unique().numel() > 5


@pytest.mark.parametrize("per_frame", [False, True])
def test_a_draw_follows_from_its_seed(per_frame):
    def drawn(seed):
        operator = Inpainting(per_frame=per_frame)
        return operator.realise(SHAPE, torch.Generator().manual_seed(seed)).missing(SHAPE)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    operator = Inpainting(per_frame=per_frame, seed=4)
    assert torch.equal(operator.missing(SHAPE), operator.realise(SHAPE).missing(SHAPE))
    assert not torch.equal(operator.missing(SHAPE), Inpainting(seed=5).missing(SHAPE))


def test_a_per_frame_draw_goes_on_beyond_the_frames_it_was_realised_for():
    operator = Inpainting(per_frame=True)
    short, long = (
        operator.realise((3, 3, frames, 20, 30), torch.Generator().manual_seed(1))
        for frames in (1, 12)
    )
    later = short.block(short.advance(None, torch.zeros(3, 3, 9, 20, 30)), 3)[0]
    assert torch.equal(short.missing(SHAPE), long.missing(SHAPE))
    expected = long.missing((3, 3, 12, 20, 30))[:, :, 9:]
    assert torch.equal(later.missing((3, 3, 3, 20, 30)), expected)


def test_realising_twice_keeps_the_draw():
    once = Inpainting().realise(SHAPE, torch.Generator().manual_seed(1))
    assert once.realise(SHAPE, torch.Generator().manual_seed(2)) is once


def test_a_draw_does_not_touch_the_global_generator():
    before = torch.get_rng_state()
    Inpainting(per_frame=True).realise(SHAPE).missing(SHAPE)
    assert torch.equal(before, torch.get_rng_state())


def test_a_realised_mask_refuses_another_batch_or_size():
    operator = Inpainting().realise(SHAPE)
    with pytest.raises(UserError, match="30x20.*16x8"):
        operator(torch.zeros(3, 3, 9, 8, 16))
    with pytest.raises(UserError, match="batch of 3"):
        operator(torch.zeros(2, 3, 9, 20, 30))
    with pytest.raises(UserError, match="batch of 3"):
        Inpainting(per_frame=True).realise(SHAPE)(torch.zeros(2, 3, 9, 20, 30))


def test_composition_realises_its_mask():
    operator = compose(Inpainting(), TemporalAverage())
    one = operator.realise(SHAPE, torch.Generator().manual_seed(1))
    other = operator.realise(SHAPE, torch.Generator().manual_seed(2))
    x = video(0, torch.float32, SHAPE)
    assert torch.equal(one(x), one(x))
    assert not torch.equal(one(x), other(x))
    assert one.missing(SHAPE) is None


def left_half() -> np.ndarray:
    picture = np.zeros((20, 30), np.uint8)
    picture[:, :15] = 255
    return picture


@pytest.fixture(params=["image", "folder", "tensor", "video"])
def user_mask(request, tmp_path):
    """The left half observed, for nine frames."""
    if request.param == "tensor":
        return torch.from_numpy(left_half()) > 0
    if request.param == "image":
        Image.fromarray(left_half()).save(tmp_path / "mask.png")
        return str(tmp_path / "mask.png")
    if request.param == "folder":
        for number in range(9):
            Image.fromarray(left_half()).convert("RGB").save(tmp_path / f"{number:03d}.png")
        return str(tmp_path)
    with av.open(str(tmp_path / "mask.mkv"), "w") as container:
        track = container.add_stream("ffv1", rate=16)
        track.width, track.height, track.pix_fmt = 30, 20, "gray"
        for _ in range(9):
            container.mux(track.encode(av.VideoFrame.from_ndarray(left_half(), format="gray")))
        container.mux(track.encode())
    return str(tmp_path / "mask.mkv")


def test_a_users_mask_keeps_what_is_white(user_mask):
    y = Inpainting(mask=user_mask)(torch.ones(SHAPE))
    assert (y[..., :15] == 1).all() and (y[..., 15:] == 0).all()


def test_white_may_mean_missing(tmp_path):
    Image.fromarray(left_half()).save(tmp_path / "mask.png")
    y = Inpainting(mask=str(tmp_path / "mask.png"), white="missing")(torch.ones(SHAPE))
    assert (y[..., :15] == 0).all() and (y[..., 15:] == 1).all()


def test_a_mask_video_is_read_frame_by_frame_in_a_stream():
    frames = torch.arange(21 * 20 * 30).reshape(21, 20, 30) % 7 > 2
    operator = Inpainting(mask=frames)
    x = video(0, torch.float32, (1, 3, 21, 20, 30))
    state = operator.advance(None, x[:, :, :9])
    block, _ = operator.block(state, 12)
    assert torch.equal(block(x[:, :, 9:]), operator(x)[:, :, 9:])
    state = operator.advance(state, x[:, :, 9:])
    with pytest.raises(UserError, match="21 frames.*frame 33"):
        operator.block(state, 12)[0](x[:, :, 9:])


def test_what_is_wrong_with_a_mask_is_said(tmp_path):
    grey = np.linspace(0, 255, 600).reshape(20, 30).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    Image.fromarray(left_half()).save(tmp_path / "mixed" / "a.png")
    Image.fromarray(left_half().T).save(tmp_path / "mixed" / "b.png")
    wrong = {
        "grey.png": "not black and white.*threshold",
        "text.png": "is not a readable image",
        "text.mp4": "cannot be read as a video",
        "empty": "has no images",
        "mixed": "different sizes: 20x30, 30x20",
        "absent.png": "does not exist",
    }
    for name, message in wrong.items():
        with pytest.raises(UserError, match=message):
            Inpainting(mask=str(tmp_path / name))
    with pytest.raises(UserError, match=r"shape \(2, 2, 2, 2\)"):
        Inpainting(mask=torch.zeros(2, 2, 2, 2))
    with pytest.raises(UserError, match=r"values in \[0, 255\]"):
        Inpainting(mask=torch.tensor([[0, 255]]))
    with pytest.raises(UserError, match="missing_share is 50"):
        Inpainting(missing_share=50)


def test_latent_masks_apply_to_latents():
    operator = Inpainting(space="latent")
    latents = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert operator.space == "latent"
    assert (operator(latents) == 0).float().mean() == 0.5
