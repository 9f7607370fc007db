"""PSNR is torchmetrics' and SSIM is scikit-image's, frame by frame."""

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from lvis.metrics import psnr_frames, ssim_frames


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(2, 3, 3, 40, 56, generator=generator) * 2 - 1
    noise = torch.randn(clean.shape, generator=generator)
    # the noise grows with the frame, so that frames in the wrong order would show; some of it
    # leaves [-1, 1]
    return clean + noise * torch.tensor([0.05, 0.2, 0.8]).view(1, 1, 3, 1, 1), clean


def unit(video: torch.Tensor) -> torch.Tensor:
    return ((video + 1) / 2).clamp(0, 1)


def test_psnr_is_torchmetrics_frame_by_frame(pair):
    scores = psnr_frames(*pair)
    for sample in range(2):
        for frame in range(3):
            video, clean = (unit(part[sample, :, frame][None]) for part in pair)
            expected = peak_signal_noise_ratio(video, clean, data_range=1.0)
            torch.testing.assert_close(scores[sample, frame], expected, atol=1e-4, rtol=0)


def test_ssim_is_scikit_images_where_the_window_fits(pair):
    from skimage.metrics import structural_similarity

    scores = ssim_frames(*pair)
    for sample in range(2):
        for frame in range(3):
            video, clean = (
                unit(part[sample, :, frame]).permute(1, 2, 0).double().numpy() for part in pair
            )
            expected = structural_similarity(
                video,
                clean,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1,
                channel_axis=2,
            )
            assert abs(scores[sample, frame].item() - expected) < 1e-5


def test_a_video_against_itself_is_perfect(pair):
    _, clean = pair
    assert torch.equal(psnr_frames(clean, clean), torch.full((2, 3), 100.0))
    torch.testing.assert_close(ssim_frames(clean, clean), torch.ones(2, 3))
