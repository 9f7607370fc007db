"""The tiny autoencoder against a plain loop over frames, and its stream against the whole clip."""

import pytest
import torch
import torch.nn.functional as F

from lvis.errors import UserError
from lvis.vae import TAE, LeanVAE, WanVAE

SMALL = {"encoder_width": 6, "decoder_widths": (12, 10, 8, 6)}


@pytest.fixture(scope="module")
def vae() -> TAE:
    torch.manual_seed(0)
    return TAE(**SMALL).double().requires_grad_(False).eval()


@pytest.fixture(autouse=True)
def float64(vae):
    """float32 sums in another order on another processor."""
    vae.encode_dtype = vae.decode_dtype = torch.float64


def clip(frames: int, batch: int = 1, height: int = 16, width: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(batch, 3, frames, height, width, generator=generator) * 2 - 1


class FrameByFrame:
    """TAEHV's layers in their published order, one frame at a time and depth first."""

    def __init__(self, layers) -> None:
        self.layers, self.seen, self.waiting = layers, {}, {}

    def run(self, frame, number=0):
        """What comes out at the end, a list of frames."""
        if number > max(int(key) for key in self.layers):
            return [frame]
        layer = self.layers[str(number)] if str(number) in self.layers else None
        if hasattr(layer, "count") and isinstance(layer.conv, torch.nn.Conv2d):
            narrows = layer.conv.in_channels == layer.count * layer.conv.out_channels
            if narrows and layer.count > 1:
                held = self.waiting.setdefault(number, [])
                held.append(frame)
                if len(held) < layer.count:
                    return []
                frame, self.waiting[number] = torch.cat(held, dim=1), []
            made = layer.conv(frame)
            parts = made.chunk(1 if narrows else layer.count, dim=1)
        elif layer is not None and hasattr(layer, "conv"):
            before = self.seen.get(number, torch.zeros_like(frame))
            self.seen[number] = frame
            x = torch.cat((frame, before), dim=1)
            for key in ("0", "2"):
                x = layer.conv[key](x).relu()
            parts = [(layer.conv["4"](x) + frame).relu()]
        else:
            parts = [layer(frame)]
        return [out for part in parts for out in self.run(part, number + 1)]


def decoded_frame_by_frame(vae, latents):
    layers = {key: layer for key, layer in vae.decoder.items()}
    layers |= {"0": lambda z: torch.tanh(z / 3) * 3, "2": F.relu, "21": F.relu}
    layers |= {key: torch.nn.Upsample(scale_factor=2) for key in ("6", "12", "18")}
    loop = FrameByFrame(layers)
    frames = [out for z in latents.double().unbind(2) for out in loop.run(z)]
    return torch.stack(frames[3:], dim=2) * 2 - 1


def encoded_frame_by_frame(vae, video):
    layers = {key: layer for key, layer in vae.encoder.items()} | {"1": F.relu}
    loop = FrameByFrame(layers)
    return torch.stack(
        [out for x in ((video.double() + 1) / 2).unbind(2) for out in loop.run(x)], 2
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_decodes_as_the_published_layers_do_frame_by_frame(vae, batch):
    latents = torch.randn(batch, 16, 4, 2, 3, generator=torch.Generator().manual_seed(0)) * 4
    found = vae.decode(latents)
    assert found.shape == (batch, 3, 13, 16, 24) and found.dtype == torch.float32
    expected = decoded_frame_by_frame(vae, latents).float()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_encodes_as_the_published_layers_do_with_frame_0_four_times(vae):
    video = clip(9, batch=2)
    found = vae.encode(video)
    assert found.shape == (2, 16, 3, 2, 3) and found.dtype == torch.float32
    padded = torch.cat((video[:, :, :1].repeat(1, 1, 3, 1, 1), video), dim=2)
    expected = encoded_frame_by_frame(vae, padded).float()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("lengths", [(3, 3, 3), (1, 1, 2), (2, 1, 1)])
def test_stream_equals_whole_clip(vae, lengths):
    video = clip(vae.video_frames(sum(lengths)), batch=2)
    latents = vae.encode(video)
    states, first, found, decoded = [None, None], 0, [], []
    for length in lengths:
        frames = 4 * length if first else 4 * length - 3
        block, states[0] = vae.encode_block(video[:, :, first : first + frames], states[0])
        shown, states[1] = vae.decode_block(block, states[1])
        assert (block.shape[2], shown.shape[2]) == (length, frames)
        first += frames
        found.append(block)
        decoded.append(shown)
    torch.testing.assert_close(torch.cat(found, 2), latents, atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.cat(decoded, 2), vae.decode(latents), atol=1e-6, rtol=0)


def test_states_are_values_and_keep_no_activation_alive(vae):
    latents = vae.encode(clip(9))
    _, past = vae.decode_block(latents)
    before = [tensor.clone() for tensor in past]
    first, _ = vae.decode_block(latents, past)
    vae.decode_block(2 * latents, past)
    assert torch.equal(first, vae.decode_block(latents, past)[0])
    assert all(torch.equal(a, b) for a, b in zip(before, past, strict=True))
    for tensor in past:
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def test_wan_encodes_beside_the_tiny_decoder():
    torch.manual_seed(0)
    wan = WanVAE(base_dim=8, num_res_blocks=1).requires_grad_(False)
    both = TAE(**SMALL, encoder=wan)
    video = clip(21)
    assert torch.equal(both.encode(video), wan.encode(video))
    first, state = both.encode_block(video[:, :, :9])
    second, _ = both.encode_block(video[:, :, 9:], state)
    torch.testing.assert_close(torch.cat((first, second), 2), wan.encode(video), atol=1e-5, rtol=0)
    assert both.own_state().keys() == TAE(**SMALL).state_dict().keys()


def test_gradients_reach_latents_and_parameters():
    torch.manual_seed(0)
    vae = TAE(**SMALL)
    latents = torch.randn(1, 16, 3, 2, 3, requires_grad=True)
    vae.decode(latents).square().mean().backward()
    assert latents.grad.abs().min() > 0
    assert all(p.grad is not None for p in vae.decoder.parameters())


def test_bf16_is_close_to_float32():
    torch.manual_seed(0)
    vae = TAE(**SMALL).requires_grad_(False)
    latents = torch.randn(1, 16, 3, 2, 3)
    exact = vae.decode(latents)
    vae.decode_dtype = torch.bfloat16
    rounded = vae.decode(latents)
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
    assert (rounded - exact).norm() < 0.05 * exact.norm()


def test_what_does_not_fit_is_a_user_error(vae):
    with pytest.raises(UserError):
        vae.encode(clip(4))
    with pytest.raises(UserError):
        vae.decode(torch.zeros(1, 8, 1, 2, 3))
    with pytest.raises(UserError, match="latent channels"):
        TAE(**SMALL, encoder=LeanVAE(latent_dim=4, low_width=8, high_width=12))
    with pytest.raises(UserError, match="decoder.8.weight"):
        TAE.infer_config({k: v for k, v in vae.own_state().items() if k != "decoder.8.weight"})
