"""HDR and wide-gamut pictures to what an SDR screen shows.

In: RGB codes of 10 bits (H, W, 3), as the file stores them. Out: sRGB (H, W, 3) uint8.
Odd: FFmpeg's own conversion is not used. It cuts off everything brighter than white, which takes
the sky out of a film, and needs two seconds to begin.
"""

from __future__ import annotations

import functools

import numpy as np

_PQ, _HLG = 16, 18  # transfer characteristics, by their numbers in ITU-T H.273
_UNKNOWN, _BT2020, _DCI_P3, _DISPLAY_P3 = 2, 9, 11, 12  # primaries, by their numbers there

# Linear light to that of BT.709. From BT.2020 as in ITU-R BT.2087; from P3 with the white of both.
_FROM_BT2020 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
_FROM_P3 = ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979))

_WHITE_NITS = 203  # a white page in HDR, by ITU-R BT.2408; it becomes light of 1.0
_PEAK_NITS = 1000  # what films and phones are mastered for; what is brighter is white too
_HLG_WHITE = 0.265  # scene light of the HLG code for a white page, 75 %
_KNEE = 0.8  # darker light stays as it is; brighter light is compressed up to the peak
_LEVELS = 1 << 14


def is_hdr(transfer: int) -> bool:
    return transfer in (_PQ, _HLG)


@functools.cache
def colour_map(transfer: int, primaries: int) -> ColourMap | None:
    """The map for pictures with these tags; None where the plain conversion is right."""
    if not is_hdr(transfer) and primaries not in (_BT2020, _DCI_P3, _DISPLAY_P3):
        return None
    return ColourMap(transfer, primaries)


class ColourMap:
    def __init__(self, transfer: int, primaries: int) -> None:
        codes = np.arange(1024) / 1023
        self._peak = 0.0
        if transfer == _PQ:
            light = _pq_nits(codes) / _WHITE_NITS
            self._peak = _PEAK_NITS / _WHITE_NITS
        elif transfer == _HLG:  # an SDR screen is so dark that HLG's system gamma is 1 on it
            light = _hlg_light(codes) / _HLG_WHITE
            self._peak = 1 / _HLG_WHITE
        else:
            light = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
        self._light = light.astype(np.float32)  # (1024,)
        self._matrix: np.ndarray | None = None  # (3, 3)
        if primaries == _BT2020 or (is_hdr(transfer) and primaries == _UNKNOWN):
            self._matrix = np.array(_FROM_BT2020, np.float32)
        elif primaries in (_DCI_P3, _DISPLAY_P3):
            self._matrix = np.array(_FROM_P3, np.float32)
        steps = np.linspace(0, 1, _LEVELS)
        srgb = np.where(steps <= 0.0031308, 12.92 * steps, 1.055 * steps ** (1 / 2.4) - 0.055)
        self._srgb = np.round(255 * srgb).astype(np.uint8)  # (_LEVELS,)

    def to_srgb(self, codes: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint16 up to 1023 -> (H, W, 3) uint8."""
        light = np.take(self._light, codes)  # (H, W, 3) float32
        if self._matrix is not None:
            light = light @ self._matrix.T
        if self._peak:
            self._compress(light)
        levels = np.clip(light, 0, 1, out=light) * (_LEVELS - 1) + 0.5
        return np.take(self._srgb, levels.astype(np.uint16))

    def _compress(self, light: np.ndarray) -> None:
        """Reinhard's curve above the knee, on the brightest of the three so that the hue stays."""
        most = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])  # (H, W)
        bright = most > _KNEE
        before = most[bright]
        above = np.minimum(before, self._peak) - _KNEE
        span = self._peak - _KNEE
        room = (1 - _KNEE) * span / (span - (1 - _KNEE))  # so that the peak becomes 1
        after = _KNEE + room * above / (above + room)
        light[bright] *= (after / before)[:, None]


def _pq_nits(codes: np.ndarray) -> np.ndarray:
    """The EOTF of SMPTE ST 2084."""
    root = codes ** (1 / 78.84375)
    return 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (
        1 / 0.1593017578125
    )


def _hlg_light(codes: np.ndarray) -> np.ndarray:
    """Scene light of HLG codes, by ITU-R BT.2100."""
    return np.where(
        codes <= 0.5, codes**2 / 3, (np.exp((codes - 0.55991073) / 0.17883277) + 0.28466892) / 12
    )
