"""VISION-XL with an exact prior on orthogonal latents, and from files with small networks of random weights."""

import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lvis.backbone.image_prior import ImagePrior
from lvis.cli.build import build
from lvis.cli.config import compose
from lvis.data.video import VideoWriter
from lvis.errors import UserError
from lvis.operators import Downsampling, GaussianBlur, TemporalAverage
from lvis.restore import command as restore
from lvis.solvers.consistency import Consistency
from lvis.solvers.vision_xl import VisionXLSolver, cross_fade
from lvis.weights.image_prior import save_image_prior

UNET = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [1, 2],
    "cross_attention_dim": 8,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 32,
}
VAE = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [8, 8],
    "latent_channels": 4,
    "norm_num_groups": 4,
    "mid_block_add_attention": False,
}
SPREAD = 0.5
TASKS = [
    "inpaint", "deblur", "sr4", "temporal_average", "spatiotemporal_average",
    "inpaint_plus", "deblur_plus", "sr_plus",
]  # fmt: skip


class GaussianPrior(ImagePrior):
    """Latents are 2 x 2 pixels side by side, which loses nothing; the exact noise of independent N(0, SPREAD^2)."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.channels = 12

    def encode(self, frames):
        self.calls["encoder"] += len(frames)
        return F.pixel_unshuffle(frames, 2)

    def decode(self, latents):
        self.calls["decoder"] += len(latents)
        return F.pixel_shuffle(latents, 2)

    def noise(self, latents, timestep, prompt=None):
        self.calls["unet"] += len(latents)
        share = self.alpha_bar(timestep)
        return (1 - share) ** 0.5 * latents / (share * SPREAD**2 + 1 - share)


@pytest.fixture(scope="module")
def prior():
    return GaussianPrior.from_config(UNET, VAE)


@pytest.fixture(scope="module")
def clip():
    generator = torch.Generator().manual_seed(0)
    return SPREAD * torch.randn(1, 3, 5, 16, 24, generator=generator).clamp(-1.9, 1.9)


def run(solver, operator, y, size=(16, 24), seed=0):
    with solver.open(operator, size, seed=seed, batch=len(y)) as stream:
        stream.push(y)
        return torch.cat(stream.finish(), dim=2), stream


def misfit(operator, x, y):
    return (operator(x) - y).square().mean().item()


def test_conjugate_gradients_bring_the_result_to_the_measurement(prior, clip):
    operator = GaussianBlur(size=5, sigma=0.8)
    y = operator(clip)
    settings = {"lpf_lambda": None, "eta": 0.0}
    errors = [
        misfit(operator, run(VisionXLSolver(prior, cg_steps=steps, **settings), operator, y)[0], y)
        for steps in (0, 1, 10)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    solver = VisionXLSolver(prior, **settings)
    solver.consistency = Consistency()
    assert misfit(operator, run(solver, operator, y)[0], y) < 0.5 * errors[2]


def test_the_filter_takes_fine_detail_away(prior, clip):
    y = TemporalAverage(window=1)(clip)

    def detail(**settings):
        solver = VisionXLSolver(prior, cg_steps=1, eta=0.0, **settings)
        return run(solver, TemporalAverage(window=1), y)[0].diff(dim=-1).square().mean().item()

    none, released, paper = (
        detail(lpf_lambda=None),
        detail(filter="released"),
        detail(filter="paper"),
    )
    assert none > released > paper
    assert detail(lpf_lambda=0) == none


def test_eta_is_what_frames_share_of_the_noise(prior):
    """From a flat measurement every frame is alike; only each frame's own noise could tell them apart."""
    operator = TemporalAverage(window=1)
    y = torch.zeros(1, 3, 3, 16, 24)
    settings = {"cg_steps": 0, "tau": 1.0, "lpf_lambda": None}
    shared = VisionXLSolver(prior, initialisation="shared_noise", **settings)
    own = VisionXLSolver(prior, initialisation="noise", **settings)
    alike, apart = (run(solver, operator, y)[0] for solver in (shared, own))
    assert torch.equal(alike[:, :, :1].expand_as(alike), alike) and alike.std() > 0.1
    assert (apart[:, :, 1] - apart[:, :, 0]).std() > 0.1
    still, _ = run(VisionXLSolver(prior, cg_steps=0, eta=0.0), operator, y)
    moved, _ = run(VisionXLSolver(prior, cg_steps=0, eta=0.2), operator, y)
    assert still.abs().max() < 1e-6 < moved.abs().max()


def test_inverting_the_first_frame_alone_starts_all_frames_there(prior, clip):
    operator = TemporalAverage(window=1)
    settings = {"cg_steps": 0, "lpf_lambda": None, "eta": 0.0}
    first, stream = run(VisionXLSolver(prior, inversion="first", **settings), operator, clip)
    every, _ = run(VisionXLSolver(prior, inversion="all", **settings), operator, clip)
    assert torch.equal(first[:, :, :1].expand_as(first), first)
    assert torch.equal(first[:, :, 0], every[:, :, 0])
    # eight levels; the inversion asks for one of five frames
    assert stream.passes["image_prior"] == pytest.approx(8 + 8 / 5)


@pytest.mark.parametrize("size", [(16, 24), (15, 22)])
def test_inversion_carries_the_measurement_over(prior, clip, size):
    """Without anything else but the way there and back, frames return, whether padded or not."""
    clip = clip[..., : size[0], : size[1]]
    settings = {"cg_steps": 0, "lpf_lambda": None, "eta": 0.0, "steps": 250}
    there, _ = run(VisionXLSolver(prior, **settings), TemporalAverage(window=1), clip, size)
    assert F.mse_loss(there, clip) < 0.02 * clip.var()


def test_passes_are_counted_a_frame(prior, clip):
    _, stream = run(VisionXLSolver(prior), TemporalAverage(window=3), clip)
    # tau = 0.3 of 25 levels is eight: inverted and sampled; the last one is not encoded again
    assert stream.passes == {"image_prior": 16, "image_encoder": 8, "image_decoder": 8}


def test_windows_longer_than_the_clip_change_nothing(prior, clip):
    operator = TemporalAverage(window=3)
    y = operator(clip)
    whole, _ = run(VisionXLSolver(prior), operator, y)
    windowed, _ = run(VisionXLSolver(prior, group=5, overlap=2), operator, y)
    assert torch.equal(whole, windowed)


def test_windows_know_the_frames_before_them(prior):
    """Every frame of a clip longer than the window agrees with a causal average that reaches into the window before."""
    operator = TemporalAverage(window=3)
    generator = torch.Generator().manual_seed(1)
    clip = SPREAD * torch.randn(1, 3, 9, 16, 24, generator=generator).clamp(-1.9, 1.9)
    y = operator(clip)
    settings = {"group": 4, "overlap": 1, "cg_steps": 30, "eta": 0.0}
    restored, _ = run(VisionXLSolver(prior, lpf_lambda=None, **settings), operator, y)
    assert restored.shape == clip.shape
    # without the frames before it, 0.05
    assert misfit(operator, restored, y) < 0.01 * y.var()
    with pytest.raises(UserError, match="causal"):
        circular = TemporalAverage(window=3, border="circular")
        run(VisionXLSolver(prior, **settings), circular, circular(clip))


def test_cross_fading_goes_over_linearly():
    before, after = torch.zeros(1, 1, 4, 1, 1), torch.ones(1, 1, 4, 1, 1)
    mixed = cross_fade(before, after, 2).flatten()
    torch.testing.assert_close(mixed, torch.tensor([0, 0, 1 / 3, 2 / 3, 1, 1]))


def test_a_seed_gives_one_answer_and_batches_are_independent_of_each_other(prior, clip):
    operator = GaussianBlur(size=5, sigma=0.8)
    y = operator(clip)
    solver = VisionXLSolver(prior)
    again, other = run(solver, operator, y, seed=0)[0], run(solver, operator, y, seed=1)[0]
    assert torch.equal(run(solver, operator, y, seed=0)[0], again) and not torch.equal(again, other)
    quiet = VisionXLSolver(prior, eta=0.0)
    alone, _ = run(quiet, operator, y)
    beside, _ = run(quiet, operator, torch.cat([y, -y]))
    torch.testing.assert_close(beside[:1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(16, 32), (32, 16), (20, 20), (22, 30)])
def test_landscape_vertical_square_and_odd_sizes(size):
    """Small networks of random weights, whose stride is four pixels."""
    torch.manual_seed(0)
    solver = VisionXLSolver(ImagePrior.from_config(UNET, VAE), steps=8)
    assert solver.stride == 4
    y = torch.rand(1, 3, 2, *size) * 2 - 1
    restored, _ = run(solver, TemporalAverage(window=2), y, size)
    assert restored.shape == y.shape and restored.isfinite().all()


@pytest.mark.parametrize("task", TASKS)
def test_every_task(prior, task):
    operator = build(compose("restore", [f"task={task}"]).task.operator)
    clip = torch.rand(1, 3, 9, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    operator = operator.realise(clip.shape, torch.Generator().manual_seed(0))
    y = operator.measure(clip)
    solver = VisionXLSolver(prior, lpf_lambda=None, eta=0.0)
    solver.consistency = Consistency()
    restored, _ = run(solver, operator, y, (64, 64))
    lifted = misfit(operator, operator.lift(y), y)
    assert restored.shape == clip.shape and misfit(operator, restored, y) < 0.5 * y.var()
    assert lifted == 0 or misfit(operator, restored, y) < lifted


def test_settings_out_of_range_are_named(prior):
    for key, value in {
        "eta": 2, "tau": -1, "cg_steps": -1, "filter": "box", "inversion": "last", "steps": 0,
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=key):
            VisionXLSolver(prior, **{key: value})
    with pytest.raises(UserError, match="tau=1"):
        VisionXLSolver(prior, initialisation="noise")
    with pytest.raises(UserError, match="overlap=4"):
        VisionXLSolver(prior, group=4)
    with pytest.raises(UserError, match="adjoint=exact"):
        VisionXLSolver(prior).open(Downsampling(4, adjoint="official"), (16, 16))


def test_the_command_restores_a_clip(tmp_path, monkeypatch, capfd):
    torch.manual_seed(0)
    save_image_prior(ImagePrior.from_config(UNET, VAE), tmp_path / "prior")
    rows, columns = np.mgrid[:36, :52]
    with VideoWriter(tmp_path / "clip.mkv", Fraction(24)) as writer:
        for number in range(3):
            frame = np.stack([4 * columns + number, 4 * rows, 90 + rows], axis=-1)
            writer.write(frame.astype(np.uint8))
    monkeypatch.chdir(tmp_path)
    arguments = [
        "input=clip.mkv", "output=out.mkv", "degrade=true", "solver=vision_xl", "solver.weights=prior",
        "solver.steps=8", "report=report.json",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["lvis.restore", *arguments])
    restore.main()
    assert (tmp_path / "out.mkv").is_file() and (tmp_path / "report.json").is_file()


def test_missing_weights_are_all_named_in_one_sentence(tmp_path):
    (tmp_path / "unet").mkdir()
    overrides = ["solver=vision_xl", "model=wan1_3b", f"solver.weights={tmp_path}"]
    with pytest.raises(UserError) as error:
        build(compose("restore", overrides).solver)
    said = str(error.value)
    assert "image UNet" in said and "image VAE" in said and "null_embedding.safetensors" in said
    assert "\n" not in said
