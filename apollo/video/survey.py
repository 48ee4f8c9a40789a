"""A cheap first pass over a video: how its keyframes look, and how many bytes each frame takes.

In:  an open file and its `PacketIndex`.   Out: a `Survey`; None where keyframes cannot be decoded
alone.
Odd: only keyframes are decoded. Where they are far apart, the sizes of the packets between them,
which cost nothing, still tell when the picture changes: an encoder spends bytes on what is new.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from apollo.video.budget import Budget
from apollo.video.clock import Continuous
from apollo.video.container import open_video
from apollo.video.index import PacketIndex, Way

logger = logging.getLogger(__name__)

MAX_KEYFRAMES = 512  # decoded in one pass, however many the video has
LOOK_SHAPE = (18, 32, 3)  # of a keyframe: height, width, RGB


@dataclass(frozen=True)
class Survey:
    """What the first pass found; frames are numbered as in `VideoInfo`."""

    sizes: np.ndarray  # (F,) bytes of each frame's packet
    is_key: np.ndarray  # (F,) bool
    seen: np.ndarray  # (J,) the keyframes that were decoded, ascending
    looks: np.ndarray  # (J, *LOOK_SHAPE) uint8


def survey_of(file: BinaryIO, index: PacketIndex, budget: Budget) -> Survey | None:
    """The first pass over a file.

    Raises:
        VideoError: the time for reading is used up.
    """
    keys = np.searchsorted(index.frame_pts, index.entry_pts)  # (E,)
    number_of = {int(index.packet_of_frame[key]): int(key) for key in _spread(keys)}
    first_pass = _Pass(file, index, number_of, budget)
    looks = list(budget.timed(first_pass.looks()))
    places = index.packet_of_frame  # (F,)
    if not looks or places.max() >= len(first_pass.sizes):
        logger.debug("%s: no first pass could be made", file.name)
        return None
    return Survey(
        sizes=np.array(first_pass.sizes, np.int64)[places],
        is_key=np.isin(np.arange(len(places)), keys),
        seen=np.array(first_pass.numbers),
        looks=np.stack(looks),
    )


def _spread(keys: np.ndarray) -> np.ndarray:
    """At most `MAX_KEYFRAMES` of the keyframes: the first one in each equal part of the video."""
    if len(keys) <= MAX_KEYFRAMES:
        return keys
    starts = np.linspace(0, keys[-1], MAX_KEYFRAMES)
    return keys[np.unique(np.searchsorted(keys, starts))]


class _Pass:
    """Demuxes everything, decodes some keyframes, each without the packets around it."""

    def __init__(
        self, file: BinaryIO, index: PacketIndex, number_of: dict[int, int], budget: Budget
    ) -> None:
        self._file = file
        self._index = index
        self._number_of = number_of  # place of a packet -> number of its frame
        self._budget = budget
        self._converter = VideoReformatter()
        self.sizes: list[int] = []  # (P,) of the packets, as stored
        self.numbers: list[int] = []  # of the frames whose looks were given

    def looks(self) -> Iterator[np.ndarray]:
        """Each keyframe's look, LOOK_SHAPE uint8; those that cannot be decoded are left out."""
        with open_video(self._file, threads=1) as (container, stream):
            codec = stream.codec_context
            if not self._can_begin_at_keyframes(codec.name):
                return
            self._budget.add_pictures(len(self._number_of), codec.width, codec.height)
            try:
                for place, packet in enumerate(Continuous(container, stream)):
                    self._budget.check_time()
                    self.sizes.append(packet.size)
                    number = self._number_of.get(place)
                    look = None if number is None else self._look(codec, packet)
                    if number is not None and look is not None:
                        self.numbers.append(number)
                        yield look
            except av.error.FFmpegError as error:
                logger.debug("%s: the first pass stopped: %s", self._file.name, error)

    def _can_begin_at_keyframes(self, codec_name: str) -> bool:
        if self._index.way is Way.WHOLE:
            return codec_name in av.codecs_available and bool(
                av.codec.Codec(codec_name, "r").intra_only
            )
        return self._index.way is Way.FAST

    def _look(self, codec: Any, packet: Any) -> np.ndarray | None:
        """The keyframe of a packet, very small; None if the decoder does not give one."""
        height, width = LOOK_SHAPE[:2]
        try:
            pictures = [*codec.decode(packet), *codec.decode(None)]
            codec.flush_buffers()
            if not pictures or not pictures[0].key_frame:
                return None
            small = self._converter.reformat(
                pictures[0],
                width=width,
                height=height,
                format="rgb24",
                interpolation=Interpolation.AREA,
            )
        except (av.error.FFmpegError, ValueError) as error:
            logger.debug("%s: a keyframe could not be decoded: %s", self._file.name, error)
            return None
        return small.to_ndarray()
