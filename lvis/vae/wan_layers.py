"""The layers of Wan's VAE as functions of (module, input, stream), over all frames at once.

Every layer takes (B, C, T, H, W), best in the channels_last_3d memory format, in which the frames
are a free (B T, C, H, W) channels_last view. Parameters stay in the modules of diffusers and are
cast to the dtype of the input.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanAttentionBlock,
    WanCausalConv3d,
    WanResample,
    WanResidualBlock,
    WanRMS_norm,
)
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lvis.kernels.convolution import dense, dense_direct, dense_taps

# below this product of the first four sizes torch computes a float32 conv3d of one sample by a
# plain loop, several times slower than oneDNN (ConvParams::use_mkldnn in ATen's Convolution.cpp)
PLAIN_CONV3D_SIZE = 20480


class Stream:
    """The pasts of one pass through the layers: reads those of the last block, collects the new.

    A past is the last frames (at most kernel - 1) that one convolution in time has read; frames
    from before the stream are zeros and are not stored.
    """

    def __init__(self, state: tuple[Tensor, ...] | None) -> None:
        self.begins = state is None
        self._old = iter(state or ())
        self._new: list[Tensor] = []

    def join(self, x: Tensor, length: int) -> Tensor:
        """The layer's past (if any) and x in one sequence; the last `length` frames are kept."""
        joined = x if self.begins else torch.cat([next(self._old), x], dim=2)
        # a copy: a view would keep the whole activation alive between blocks
        self._new.append(joined[:, :, max(joined.shape[2] - length, 0) :].clone())
        return joined

    @property
    def state(self) -> tuple[Tensor, ...]:
        return tuple(self._new)


def as_frames(x: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B T, C, H, W)."""
    return x.transpose(1, 2).flatten(0, 1)


def as_video(frames: Tensor, batch: int) -> Tensor:
    """(B T, C, H, W) -> (B, C, T, H, W)."""
    return frames.unflatten(0, (batch, -1)).transpose(1, 2)


def causal_conv(conv: WanCausalConv3d, x: Tensor, stream: Stream) -> Tensor:
    """A 3-D convolution, causal in time: zeros before the stream, then its own past."""
    weight, bias = _parameters(conv, x.dtype)
    kernel = conv.kernel_size[0]
    if kernel == 1:
        return as_video(F.conv2d(as_frames(x), weight[:, :, 0], bias), x.shape[0])
    joined = stream.join(x, kernel - 1)
    return _conv_in_time(joined, weight, bias, missing=kernel - 1 + x.shape[2] - joined.shape[2])


def _conv_in_time(x: Tensor, weight: Tensor, bias: Tensor | None, missing: int) -> Tensor:
    """The convolution of x with `missing` zero frames before it; same size in space."""
    padding = (weight.shape[3] // 2, weight.shape[4] // 2)
    depth = x.shape[2] + missing - weight.shape[2] + 1
    if depth == 1:
        # exact and cheaper as conv2d over the frames' channels: the zeros are skipped
        frames = torch.cat(x.unbind(2), dim=1)
        kernel = torch.cat(weight[:, :, missing:].unbind(2), dim=1)
        return F.conv2d(frames, kernel, bias, padding=padding).unsqueeze(2)
    if missing:
        x = F.pad(x, (0, 0, 0, 0, missing, 0))
    if x.dtype == torch.float32 and x.device.type == "cpu" and _is_plain(x):
        return dense_taps(x, weight, bias)
    if x.dtype == torch.bfloat16 and x.device.type == "cpu":
        return _SafeConv3d.apply(x, weight, bias)
    return dense(x, weight, bias) if x.is_cuda else dense_direct(x, weight, bias)


def _is_plain(x: Tensor) -> bool:
    return x.shape[0] == 1 and x.shape[1] * x.shape[2] * x.shape[3] <= PLAIN_CONV3D_SIZE


class _SafeConv3d(torch.autograd.Function):
    """conv3d, padded in space to the same size, whose weight gradient is that of 2-D convolutions.

    In bf16 on CPUs with AMX, oneDNN's weight gradient of a conv3d corrupts the heap at sides from
    about 98 (torch 2.13, 2.15; seen at output depths 1 to 4); the forward pass and the gradient of
    the input do not. The weight gradient is a sum over frames, one tap in time after another, of
    what conv2d computes.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        ctx.padding = (weight.shape[3] // 2, weight.shape[4] // 2)
        return F.conv3d(x, weight, bias, padding=(0, *ctx.padding))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        grad_x = grad_weight = grad_bias = None
        if needs_x:
            grad_x = _convolution_backward(
                grad, x, weight, (0, *ctx.padding), (True, False, False)
            )[0]
        if needs_weight or needs_bias:
            frames, depth = as_frames(grad), grad.shape[2]
            taps = []
            for tap in range(weight.shape[2]):
                _, grad_tap, grad_tap_bias = _convolution_backward(
                    frames,
                    as_frames(x[:, :, tap : tap + depth]),
                    weight[:, :, tap],
                    ctx.padding,
                    (False, True, tap == 0 and ctx.has_bias),
                )
                taps.append(grad_tap)
                grad_bias = grad_tap_bias if tap == 0 else grad_bias
            grad_weight = torch.stack(taps, dim=2)
        return grad_x, grad_weight, grad_bias


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, ...], mask: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    ones, zeros = [1] * len(padding), [0] * len(padding)
    return torch.ops.aten.convolution_backward(
        grad, x, weight, [weight.shape[0]], ones, padding, ones, False, zeros, 1, mask
    )


def _parameters(conv: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    bias = conv.bias
    return conv.weight.to(dtype), None if bias is None else bias.to(dtype)


def rms_norm(norm: WanRMS_norm, x: Tensor, *, silu: bool) -> Tensor:
    """Norm over the channels (dimension 1): x sqrt(C) gamma / |x|, then optionally SiLU."""
    if silu and x.dtype == torch.bfloat16 and x.device.type == "cpu":
        gamma = norm.gamma.flatten().to(x.dtype)
        return _NormSiLU.apply(x.movedim(1, -1), gamma).movedim(-1, 1)
    gamma = norm.gamma.reshape(-1, *(1,) * (x.ndim - 2))
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32)
    scale = (norm.scale / length.clamp_min(1e-12)).to(x.dtype)
    normed = x * scale * gamma.to(x.dtype)
    return F.silu(normed) if silu else normed


class _NormSiLU(torch.autograd.Function):
    """silu(gamma x / rms(x)) over the last dimension, for bf16 on a CPU.

    Reductions over few channels and broadcasts of one number per pixel are the slow operations there;
    a product with a constant C x C matrix does both at once, in the matrix units. Backward, with
    u = x / rms: dx = (gamma dn - u mean(gamma dn u)) / rms, dn the gradient of the SiLU's input.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor) -> Tensor:
        channels = x.shape[-1]
        mean = x.new_full((channels, channels), 1.0 / channels)
        inverse_rms = F.linear(x * x, mean, x.new_full((channels,), 1e-24)).rsqrt_()
        unit = x * inverse_rms
        ctx.save_for_backward(unit, inverse_rms, gamma)
        return F.silu(unit * gamma, inplace=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        unit, inverse_rms, gamma = ctx.saved_tensors
        channels = gamma.numel()
        grad = torch.ops.aten.silu_backward(grad, unit * gamma)
        product = grad * unit
        grad_gamma = product.new_ones(1, product[..., 0].numel()) @ product.reshape(-1, channels)
        weighted_mean = (gamma / channels).unsqueeze(1).expand(channels, channels).contiguous()
        grad_x = (
            grad.mul_(gamma).addcmul_(unit, product @ weighted_mean, value=-1).mul_(inverse_rms)
        )
        return grad_x, grad_gamma.view(-1)


def residual_block(block: WanResidualBlock, x: Tensor, stream: Stream) -> Tensor:
    shortcut = x
    if not isinstance(block.conv_shortcut, nn.Identity):
        shortcut = causal_conv(block.conv_shortcut, x, stream)
    x = causal_conv(block.conv1, rms_norm(block.norm1, x, silu=True), stream)
    x = causal_conv(block.conv2, rms_norm(block.norm2, x, silu=True), stream)
    return x + shortcut


def attention_block(block: WanAttentionBlock, x: Tensor) -> Tensor:
    """Single-head self-attention within each frame."""
    batch, _, _, height, width = x.shape
    frames = rms_norm(block.norm, as_frames(x), silu=False)
    tokens = frames.permute(0, 2, 3, 1).flatten(1, 2)
    qkv_weight, qkv_bias = _parameters(block.to_qkv, x.dtype)
    out_weight, out_bias = _parameters(block.proj, x.dtype)
    qkv = F.linear(tokens, qkv_weight[:, :, 0, 0], qkv_bias)
    query, key, value = qkv.unsqueeze(1).chunk(3, dim=-1)
    attended = F.scaled_dot_product_attention(query, key, value).squeeze(1)
    out = F.linear(attended, out_weight[:, :, 0, 0], out_bias)
    return x + as_video(out.unflatten(1, (height, width)).permute(0, 3, 1, 2), batch)


def downsample(resample: WanResample, x: Tensor, stream: Stream) -> Tensor:
    """Halve the sides and, for downsample3d, the frames: frame 0 of the stream passes alone."""
    weight, bias = _parameters(resample.resample[1], x.dtype)
    frames = F.conv2d(F.pad(as_frames(x), (0, 1, 0, 1)), weight, bias, stride=2)
    x = as_video(frames, x.shape[0])
    if resample.mode == "downsample2d":
        return x
    joined = stream.join(x, 1)
    parts = [joined[:, :, :1]] if stream.begins else []
    if joined.shape[2] > 1:
        parts.append(_conv_halving(joined, *_parameters(resample.time_conv, x.dtype)))
    return torch.cat(parts, dim=2)


def _conv_halving(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The (3, 1, 1) convolution with stride 2 in time of 1 + 2k frames: k frames."""
    # as conv2d with the three taps as channels: one safe, fast product (see _SafeConv3d)
    count = x.shape[2] // 2
    taps = [x[:, :, tap : tap + 2 * count : 2] for tap in range(3)]
    frames = as_frames(torch.cat(taps, dim=1))
    kernel = torch.cat(weight.unbind(2), dim=1)
    return as_video(F.conv2d(frames, kernel, bias), x.shape[0])


def upsample(resample: WanResample, x: Tensor, stream: Stream) -> Tensor:
    """Double the sides and, for upsample3d, the frames: frame 0 of the stream passes alone."""
    if resample.mode == "upsample3d":
        x = _double_frames(resample.time_conv, x, stream)
    weight, bias = _parameters(resample.resample[1], x.dtype)
    frames = F.interpolate(as_frames(x), scale_factor=2, mode="nearest-exact")
    return as_video(F.conv2d(frames, weight, bias, padding=1), x.shape[0])


def _double_frames(conv: WanCausalConv3d, x: Tensor, stream: Stream) -> Tensor:
    # frame 0 is not even context for the others (diffusers' "Rep"): they see zeros in its place
    first, later = (x[:, :, :1], x[:, :, 1:]) if stream.begins else (x[:, :, :0], x)
    joined = stream.join(later, 2)
    if not later.shape[2]:
        return first
    missing = 2 + later.shape[2] - joined.shape[2]
    pairs = _conv_in_time(joined, *_parameters(conv, x.dtype), missing=missing)
    # (B, 2 C, T, H, W) -> (B, C, 2 T, H, W), copied with the channels still last in memory
    halves = pairs.movedim(1, -1).unflatten(-1, (2, -1)).movedim(-2, 2)
    doubled = halves.flatten(1, 2).movedim(-1, 1)
    # an empty part would make cat forget the memory format, here and in every layer after it
    return torch.cat([first, doubled], dim=2) if first.shape[2] else doubled
