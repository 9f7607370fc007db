"""Inpainting: some pixels (or latents) of x are observed, the others are not."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from lvis.errors import UserError
from lvis.operators.base import LinearOperator, StreamState, per_sample, require_choice
from lvis.operators.draws import Draw, drawn
from lvis.operators.mask_files import WHITE, binarise, load_mask

# spreads the frames' seeds over 63 bits (the golden ratio, as in Fibonacci hashing)
_FRAME_STRIDE = 0x9E3779B97F4A7C15
_SEED_BITS = 2**63


class Inpainting(LinearOperator):
    """y = mask * x, the mask shared by the channels: 1 where observed, 0 where missing (mid-grey
    in [-1, 1]).

    A random mask has exactly round(missing_share * H * W) missing places in every frame. It is a
    function of a seed a sample (and the absolute frame, when drawn per frame), so a stream sees
    the mask that the whole clip sees. `realise` draws those seeds; without it the mask follows
    from `seed` and the sample's place in the batch.

    measure leaves missing places at 0, noise included; lift(y) is mask * y.

    Args:
        missing_share: in [0, 1], 0.5 in the papers; for random masks.
        per_frame: draw a mask per frame instead of one per clip.
        seed: of the masks that `realise` draws without a generator.
        mask: a user's mask instead of a random one: the path of an image, a folder of images or a
            video, or a tensor (H, W), (T, H, W) or (B, 1, T, H, W) with 1 where observed. One
            frame serves the whole video.
        white: what white means in a mask file: "observed" (y = mask * x), or "missing" as
            in-painting tools have it.
        space: "pixel", or "latent" for masks on latents.
        noise_std, adjoint: see `LinearOperator`; "official" is the same as "exact" here.

    Raises:
        UserError: a share outside [0, 1]; a mask that is missing, not black and white, or of the
            wrong shape; when applied, a mask whose size, batch or length is not that of x.
    """

    streamable = True

    def __init__(
        self,
        missing_share: float = 0.5,
        per_frame: bool = False,
        seed: int = 0,
        mask: str | Tensor | None = None,
        white: str = "observed",
        space: str = "pixel",
        noise_std: float = 0.0,
        adjoint: str = "exact",
    ) -> None:
        super().__init__(noise_std, adjoint, space)
        if not 0 <= missing_share <= 1:
            raise UserError(f"missing_share is {missing_share}: give a share in [0, 1]")
        require_choice("the meaning of white in a mask", white, WHITE)
        self.missing_share = missing_share
        self.per_frame = per_frame
        self.seed = seed
        self.white = white
        self.first_frame = 0
        self.sample_seeds: tuple[int, ...] | None = None
        if mask is not None:
            mask = binarise(mask) if isinstance(mask, Tensor) else load_mask(mask, white)
        self.mask: Tensor | None
        self.register_buffer("mask", mask, persistent=False)

    def observed(self, x_shape: torch.Size | tuple[int, ...]) -> Tensor:
        """The mask for x of this shape, bool (B or 1, 1, T or 1, H, W).

        Raises:
            UserError: a mask of another size or batch, or one that ends before x does.
        """
        if self.mask is None:
            seeds = self.sample_seeds or _sample_seeds(x_shape[0], _seeded(self.seed))
            return self._drawn(seeds, x_shape)
        if self._within(x_shape):
            return self._fitting(self.mask, x_shape)
        assert self.sample_seeds is not None
        return self._drawn(self.sample_seeds, x_shape).to(self.mask.device)

    def forward(self, x: Tensor) -> Tensor:
        return x * self._weights(x)

    def adjoint(self, y: Tensor, x_shape: torch.Size | tuple[int, ...] | None = None) -> Tensor:
        return self(y)

    def pinv(self, y: Tensor) -> Tensor:
        return self(y)

    def lift(self, y: Tensor) -> Tensor:
        return self(y)

    def prox(self, x: Tensor, y: Tensor, gamma: float | Tensor) -> Tensor:
        weight = per_sample(gamma, x)
        return torch.where(self._weights(x).bool(), (x + weight * y) / (1 + weight), x)

    def realise(
        self,
        x_shape: torch.Size | tuple[int, ...],
        generator: Draw = None,
    ) -> "Inpainting":
        """This operator with a mask drawn for each sample of a batch; itself when it has one
        already.

        Args:
            x_shape: (B, C, T, H, W). A stream may go on beyond T: masks of later frames are drawn
                as they come.
            generator: draws the samples' seeds, one for the batch or one per sample; by default one
                with the configured seed.
        """
        if self.mask is not None:
            return self
        seeds = _sample_seeds(x_shape[0], generator or _seeded(self.seed))
        return self._like(self._drawn(seeds, x_shape), seeds, self.first_frame)

    def missing(self, x_shape: torch.Size | tuple[int, ...]) -> Tensor:
        observed = self.observed(x_shape)
        return _complement(observed) if observed is self.mask else (~observed).float()

    def measurement_shape(self, x_shape: torch.Size | tuple[int, ...]) -> torch.Size:
        return torch.Size(x_shape)

    def norm(self, x_shape: torch.Size | tuple[int, ...]) -> float:
        return float(self.observed(x_shape).any())

    def block(self, state: StreamState | None, num_frames: int) -> tuple[LinearOperator, Tensor]:
        begin = self.first_frame + (state.frames if state else 0)
        return self._like(self.mask, self.sample_seeds, begin), torch.zeros(())

    def _like(
        self, mask: Tensor | None, seeds: tuple[int, ...] | None, first_frame: int
    ) -> "Inpainting":
        other = Inpainting(
            self.missing_share,
            self.per_frame,
            self.seed,
            None,
            self.white,
            self.space,
            self.noise_std,
            self.adjoint_kind,
        )
        other.mask, other.sample_seeds, other.first_frame = mask, seeds, first_frame
        return other

    def _weights(self, x: Tensor) -> Tensor:
        return self.observed(x.shape).to(x.device, x.dtype)

    def _noise(self, x: Tensor, y: Tensor, generator: Draw) -> Tensor:
        return self(super()._noise(x, y, generator))

    def _drawn(self, seeds: tuple[int, ...], x_shape: torch.Size | tuple[int, ...]) -> Tensor:
        """Random masks, bool (B, 1, T or 1, H, W)."""
        batch, _, frames, height, width = x_shape
        if len(seeds) != batch:
            raise UserError(
                f"the mask was drawn for a batch of {len(seeds)}, x has a batch of {batch}: "
                "realise it again"
            )
        numbers = range(self.first_frame, self.first_frame + frames) if self.per_frame else (0,)
        count = round(self.missing_share * height * width)
        masks = [
            torch.stack([_draw(seed, number, height, width, count) for number in numbers])
            for seed in seeds
        ]
        return torch.stack(masks)[:, None]

    def _within(self, x_shape: torch.Size | tuple[int, ...]) -> bool:
        """Whether the mask at hand is all there is, or reaches far enough."""
        assert self.mask is not None
        if self.sample_seeds is None or not self.per_frame:
            return True
        return self.first_frame + x_shape[2] <= self.mask.shape[2]

    def _fitting(self, mask: Tensor, x_shape: torch.Size | tuple[int, ...]) -> Tensor:
        batch, _, frames, height, width = x_shape
        if mask.shape[3:] != (height, width):
            raise UserError(
                f"the mask is {mask.shape[4]}x{mask.shape[3]}, the {self.space} video is "
                f"{width}x{height} "
                "(width x height): give a mask of the video's size"
            )
        if mask.shape[0] not in (1, batch):
            raise UserError(
                f"the mask has a batch of {mask.shape[0]}, x one of {batch}: give one mask, or "
                f"one per sample"
            )
        end = self.first_frame + frames
        if mask.shape[2] == 1:
            return mask
        if mask.shape[2] < end:
            raise UserError(
                f"the mask has {mask.shape[2]} frames and the video has reached frame {end}: "
                "give a mask as long as the video, or a single image"
            )
        return mask[:, :, self.first_frame : end]


# of masks that serve a whole stream, so that what is derived from one can be kept with it
_COMPLEMENTS = WeakTensorKeyDictionary()


def _complement(mask: Tensor) -> Tensor:
    """1.0 where a mask is false; the same tensor every time."""
    if mask not in _COMPLEMENTS:
        with torch.inference_mode(False):
            _COMPLEMENTS[mask] = (~mask).float()
    return _COMPLEMENTS[mask]


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _sample_seeds(batch: int, draw: Draw) -> tuple[int, ...]:
    def sample(count: int, generator: torch.Generator | None) -> Tensor:
        assert generator is not None
        return torch.randint(
            _SEED_BITS - 1,
            (count,),
            generator=generator,
            device=generator.device,
            dtype=torch.int64,
        )

    return tuple(drawn(draw, batch, sample).tolist())


# a block's frames for a small batch; at 480x832 this is at most 51 MB. On the CPU, so that every
# device has the same mask
@lru_cache(maxsize=128)
def _draw(seed: int, frame: int, height: int, width: int, count: int) -> Tensor:
    """A mask (H, W), bool, with exactly `count` missing places."""
    with torch.inference_mode(False):
        generator = _seeded((seed + frame * _FRAME_STRIDE) % _SEED_BITS)
        observed = torch.ones(height * width, dtype=torch.bool)
        observed[torch.randperm(height * width, generator=generator)[:count]] = False
        return observed.reshape(height, width)
