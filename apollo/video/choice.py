"""Which clips of a long video are read, when it has more of them than may be read.

In:  an open video, the clips that follow each other over the wanted range, and those that would be
read if all parts were alike.   Out: as many clips, in order of time.
Odd: two moments differ by what changed between them, or by how the keyframes beside them look,
whichever is less: what comes back after an interruption is known already. The choice does not
depend on the question, so the tokens of the clips stay valid for the next one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apollo.video.clips import Clip
from apollo.video.reader import Video
from apollo.video.survey import Survey

EVEN_SHARE = 1 / 3  # of the clips are spread evenly, whatever there is to see
_NEW_EVERYWHERE = 2 / 3  # of the clips are new: there is no part that needs fewer than another
_OTHER_LEVELS = 32.0  # keyframes that differ by so many grey levels show something else
_GAP_WEIGHT = 0.25  # of the largest distance in time, where 1 is that of a cut
_CUT_SIZE = 0.25  # of a keyframe's size: a smaller packet is no new picture
_CUT_RISE = 1.8  # times the packets around it
_NEAR = 8  # frames
_WINDOW = 12  # frames whose sizes are taken together: they alternate from frame to frame
_MOTION_RISE = 1.5  # times the usual bytes of a window; less is chance
_LEAST_USUAL = 0.02  # of a keyframe's size; less is nothing


def varied_clips(video: Video, candidates: Sequence[Clip], uniform: Sequence[Clip]) -> list[Clip]:
    """As many of the candidates as `uniform` has clips: those that cover what changes.

    A part of them is spread evenly. Each of the others is the one that differs most from all
    that are chosen, and is far from them in time where several differ alike. Where everything
    changes, or no first pass can be made, they are those of `uniform`.

    Raises:
        VideoError: the time for reading is used up.
    """
    if len(uniform) >= len(candidates):
        return list(uniform)
    survey = video.survey()
    chosen = _Choice(candidates, survey).chosen(len(uniform)) if survey else None
    return list(uniform) if chosen is None else [candidates[i] for i in chosen]


def _evenly(total: int, count: int) -> list[int]:
    """Each in the middle of its share."""
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


class _Choice:
    """The clips chosen so far, and what the others would add to them."""

    def __init__(self, candidates: Sequence[Clip], survey: Survey) -> None:
        path = np.cumsum(change(survey))  # (F,)
        middles = np.array([clip.frame_ids[len(clip.frame_ids) // 2] for clip in candidates])
        self._at = path[middles]  # (N,)
        last_key = len(survey.seen) - 1
        before = np.searchsorted(survey.seen, middles, side="right") - 1  # (N,)
        self._keys = np.clip([before, before + 1], 0, last_key)  # (2, N)
        self._to_keys = np.abs(path[survey.seen][self._keys] - self._at)  # (2, N)
        self._between = differences(survey.looks)  # (J, J)
        self._known = np.ones(last_key + 1)  # (J,) how far each keyframe is from what is chosen
        self._chosen: list[int] = []

    def chosen(self, count: int) -> list[int] | None:
        """The places of `count` clips, ascending; None if nearly every clip is new."""
        num_clips = len(self._at)
        num_even = max(1, round(EVEN_SHARE * count))
        for which in _evenly(num_clips, num_even):
            self._add(which)
        new, gap = self._new_and_gap()
        if new.mean() > _NEW_EVERYWHERE:
            return None
        farthest = num_clips / num_even / 2  # between two even ones
        while len(self._chosen) < count:
            self._add(int(np.argmax(new + _GAP_WEIGHT * gap / farthest)))
            new, gap = self._new_and_gap()
        return self._chosen

    def _add(self, which: int) -> None:
        self._chosen = sorted([*self._chosen, which])
        for key, distance in zip(self._keys[:, which], self._to_keys[:, which], strict=True):
            self._known = np.minimum(self._known, self._between[key] + distance)

    def _new_and_gap(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) how each clip differs from the chosen, 0 to 1; (N,) how far it is, in clips."""
        chosen, every = np.array(self._chosen), np.arange(len(self._at))
        place = np.searchsorted(chosen, every, side="right")  # (N,) of the next chosen one
        neighbours = np.clip([place - 1, place], 0, len(chosen) - 1)  # (2, N)
        by_path = np.abs(self._at[chosen[neighbours]] - self._at).min(0)
        by_looks = (self._known[self._keys] + self._to_keys).min(0)
        new = np.minimum(1, np.minimum(by_path, by_looks))  # (N,)
        gap = np.abs(chosen[neighbours] - every).min(
            0
        )  # 0 for a chosen one, as is what is new in it
        return new, gap


def differences(looks: np.ndarray) -> np.ndarray:
    """(J, J) between looks: 0 is the same, 1 something else."""
    flat = looks.reshape(len(looks), -1).astype(np.float64)  # (J, H*W*3): exact
    squares = (flat * flat).sum(1)
    apart = np.maximum(0, squares[:, None] + squares - 2 * flat @ flat.T) / flat.shape[1]
    return np.minimum(1, np.sqrt(apart) / _OTHER_LEVELS)


def change(survey: Survey) -> np.ndarray:
    """(F,) how much each frame differs from the one before; 1 is a cut."""
    cuts, motion = _change_between_keyframes(survey)
    seen = survey.seen
    by_looks = differences(survey.looks)[np.arange(len(seen) - 1), np.arange(1, len(seen))]
    found = np.diff(np.cumsum(cuts)[seen])
    cuts[seen[1:]] += np.maximum(0, by_looks - found)  # no cut before it: at the keyframe
    return cuts + motion


def _change_between_keyframes(survey: Survey) -> tuple[np.ndarray, np.ndarray]:
    """(F,) cuts and (F,) motion as the sizes of the packets tell them; 0 at keyframes."""
    cuts, motion = np.zeros((2, len(survey.sizes)))
    others = np.flatnonzero(~survey.is_key)  # (M,)
    if len(others) >= _WINDOW:
        keys = np.flatnonzero(survey.is_key)
        place = np.searchsorted(keys, others)  # of the keyframe after each
        around = keys[np.clip([place - 1, place], 0, len(keys) - 1)]  # (2, M)
        part = survey.sizes[others] / np.maximum(1, survey.sizes[around].min(0))  # (M,)
        cuts[others], motion[others] = _cuts(part), _motion(part)
    return cuts, motion


def _cuts(part: np.ndarray) -> np.ndarray:
    """(M,) sizes as parts of a keyframe's -> 0 to 1 where one is much larger than those around."""
    padded = np.pad(part, _NEAR)
    largest = np.lib.stride_tricks.sliding_window_view(padded, _NEAR).max(1)  # (M + near + 1,)
    around = np.maximum(largest[: len(part)], largest[_NEAR + 1 :])  # (M,) before, after
    is_cut = (part > _CUT_SIZE) & (part > _CUT_RISE * around)
    return np.where(is_cut, np.minimum(1, part), 0)


def _motion(part: np.ndarray) -> np.ndarray:
    """(M,) the same -> what is above the usual, spread over the frames of a window."""
    starts = np.arange(0, len(part), _WINDOW)
    means = np.add.reduceat(part, starts) / np.diff([*starts, len(part)])
    usual = max(_LEAST_USUAL, float(np.median(means)))
    rise = np.log2(np.maximum(means, usual) / usual / _MOTION_RISE).clip(0, 2) / 2
    return np.repeat(rise / _WINDOW, np.diff([*starts, len(part)]))
