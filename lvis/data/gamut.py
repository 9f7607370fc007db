"""Wide gamut and high dynamic range brought to BT.709: primaries, transfer function, tone map.

H.273 names the numbers of primaries and transfer functions. Colours are made linear (SMPTE ST 2084
in units of the reference white of 203 cd/m^2, ITU-R BT.2408; BT.2100 HLG with its system gamma of 1.2
at 1,000 cd/m^2; else BT.1886's exponent of 2.4), turned into BT.709's primaries, tone mapped where the
dynamic range is high, clipped to BT.709's gamut, and encoded with the exponent of 2.4.
"""

from functools import lru_cache

import numpy as np

PQ, HLG = 16, 18
REFERENCE_WHITE = 203.0  # cd/m^2, BT.2408
_PEAK = 1000.0  # cd/m^2 that the tone map brings to full white
KNEE = 0.85  # of reference white, up to which the tone map changes nothing
_GAMMA = 2.4  # BT.1886

_WIDE = {
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
_BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_D65 = (0.3127, 0.3290)
_NAMES = {9: "BT.2020", 12: "Display P3"}
_BT2020_MATRICES = (9, 10)


def conversion(primaries: int, transfer: int, matrix: int) -> tuple[int, int] | None:
    """(primaries, transfer) to convert from, by a frame's three numbers; None: it is BT.709 or near.

    BT.601's primaries are left as they are, as players leave them. Untagged primaries are BT.2020's
    where the matrix or the transfer function can only go with those.
    """
    if primaries not in _WIDE:
        if primaries != 2 or not (transfer in (PQ, HLG) or matrix in _BT2020_MATRICES):
            return (1, transfer) if transfer in (PQ, HLG) else None
        primaries = 9
    return primaries, transfer


def described(source: tuple[int, int]) -> str:
    """What is done to such colours, in a sentence for the user."""
    primaries, transfer = source
    name = _NAMES.get(primaries, "BT.709")
    if transfer not in (PQ, HLG):
        return f"its colours are {name}: they are converted to BT.709, and those outside it clipped"
    kind = "PQ" if transfer == PQ else "HLG"
    return (
        f"its pictures are HDR ({kind}, {name}): they are converted to BT.709 with 8 bits; up to "
        f"{KNEE * REFERENCE_WHITE:.0f} cd/m2 nothing changes, and all above up to {_PEAK:.0f} cd/m2 is "
        "compressed into the rest"
    )


def to_bt709(pixels: np.ndarray, source: tuple[int, int]) -> np.ndarray:
    """uint16 (H, W, 3) RGB of `source` = (primaries, transfer), full range -> uint8 (H, W, 3) BT.709."""
    primaries, transfer = source
    linear = _linear_table(transfer)[pixels]
    if transfer == HLG:
        luminance = linear @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        # BT.2100's OOTF, then in units of reference white
        linear = linear * luminance[..., None] ** 0.2 * (_PEAK / REFERENCE_WHITE)
    if primaries in _WIDE:
        linear = linear @ _to_709(primaries).T
    if transfer in (PQ, HLG):
        linear = _tone_mapped(linear)
    levels = np.clip(linear, 0, 1) ** np.float32(1 / _GAMMA)
    return (levels * 255 + 0.5).astype(np.uint8)


def _tone_mapped(linear: np.ndarray) -> np.ndarray:
    """Scales each colour so that its largest channel is KNEE and more: hues stay."""
    largest = np.maximum(linear.max(axis=-1, keepdims=True), 1e-6)
    over = np.maximum(largest - KNEE, 0) / (1 - KNEE)
    peak = (_PEAK / REFERENCE_WHITE - KNEE) / (1 - KNEE)
    # Reinhard's curve with a white point: slope 1 at the knee, 1 at the peak
    mapped = KNEE + (1 - KNEE) * over * (1 + over / peak**2) / (1 + over)
    return linear * np.where(largest > KNEE, mapped / largest, 1)


@lru_cache(maxsize=4)
def _linear_table(transfer: int) -> np.ndarray:
    """float32 (65536,): a 16-bit level made linear."""
    signal = np.linspace(0, 1, 65536)
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = signal ** (1 / m2)
        light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) * 10_000 / REFERENCE_WHITE
    elif transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    else:
        light = signal**_GAMMA
    return light.astype(np.float32)


@lru_cache(maxsize=4)
def _to_709(primaries: int) -> np.ndarray:
    """(3, 3), linear RGB of these primaries -> BT.709's; both have D65 for white."""
    return (np.linalg.inv(_to_xyz(_BT709)) @ _to_xyz(_WIDE[primaries])).astype(np.float32)


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([_D65[0] / _D65[1], 1, (1 - _D65[0] - _D65[1]) / _D65[1]])
    return columns * np.linalg.solve(columns, white)
