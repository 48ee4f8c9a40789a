"""One pass over a file's packets that decodes the wanted frames and as little else as possible.

In: an open file, its `PacketIndex` and ascending frame numbers. Out: those frames, RGB (H, W, 3)
uint8, as `display.py` shows them.
The odd parts: pictures that nobody asked for and nothing refers to are not decoded, and packets
after the last wanted frame before a keyframe are not sent to the decoder at all. Packets are
passed over rather than seeked past, because some containers land late. What decides is the
timestamp of the decoded picture, not its place.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import av
import numpy as np

from apollo.errors import VideoError
from apollo.video.budget import Budget
from apollo.video.clock import Continuous
from apollo.video.container import open_video
from apollo.video.display import Screen
from apollo.video.index import PacketIndex, Way

logger = logging.getLogger(__name__)

_LOST_LIMIT = 0.2  # of the frames asked for; above it an answer would be about something else


class GoSlower(Exception):
    """The file is not what its index says; decode the remaining frames by the slower `way`."""

    def __init__(self, way: Way) -> None:
        super().__init__(way.name)
        self.way = way
        self.before: Any = None  # the picture that was shown last


def damage_sentence(name: str, lost: int, asked: int) -> str:
    """What a person is told when `lost` of the `asked` frames could not be decoded."""
    return (
        f"{name} is damaged: {lost} of {asked} sampled frames could not be "
        "decoded, so the ones before them are shown; send the file again to have them."
    )


@dataclass
class Damage:
    """What could not be decoded, filled in while frames are read.

    A packet without a picture of its own, where the decoder complains of nothing, is no damage:
    the second field of a frame, say. The picture before is what a player shows then.
    """

    name: str
    asked: int
    lost: set[int] = field(default_factory=set)  # numbers of frames
    complaints: int = 0

    @property
    def is_real(self) -> bool:
        return bool(self.lost) and self.complaints > 0

    def sentence(self) -> str:
        return damage_sentence(self.name, len(self.lost), self.asked)

    def is_lost(self, frame_id: int) -> bool:
        """Whether the frame, which has been given, counts as lost by now."""
        return self.complaints > 0 and frame_id in self.lost

    def add_lost(self, frame_id: int) -> None:
        self.lost.add(frame_id)
        if self.complaints and len(self.lost) > _LOST_LIMIT * self.asked:
            raise VideoError(
                f"{self.name} is damaged: {len(self.lost)} or more of {self.asked} sampled frames "
                "could not be decoded; send the file again."
            )


def decode(
    file: BinaryIO,
    index: PacketIndex,
    ids: Sequence[int],
    way: Way,
    threads: int,
    damage: Damage,
    before: Any = None,
    budget: Budget | None = None,
) -> Iterator[np.ndarray]:
    """The frames (H, W, 3) uint8 of `ids`, each once, in order; `GoSlower` before a wrong one.

    `before` is that of the `GoSlower` from which this goes on.
    """
    budget = budget or Budget(damage.name)
    matcher = _Matcher(index, ids, way)
    screen = Screen(index.pixel_aspect)
    given = iter(ids)
    try:
        for picture in _pictures(file, index, ids, way, threads, damage, budget):
            if matcher.is_late(picture) and not damage.complaints:
                raise GoSlower(Way.COUNTED)
            for shown, is_lost in matcher.take(picture):
                frame_id = next(given)
                if is_lost:
                    damage.add_lost(frame_id)
                before = shown
                yield screen.show(shown)
    except GoSlower as slower:
        slower.before = before
        raise
    for shown in matcher.rest():
        damage.add_lost(next(given))
        yield screen.show(shown)
    if matcher.saw_picture:
        return
    if before is None:
        raise VideoError(
            f"{damage.name} is damaged: none of {damage.asked} sampled frames could be decoded; "
            "send the file again."
        )
    frame = screen.show(before)
    for frame_id in ids:
        damage.add_lost(frame_id)
        yield frame


class _Matcher:
    """Gives every wanted frame its picture; one that never came gets the picture before it."""

    def __init__(self, index: PacketIndex, ids: Sequence[int], way: Way) -> None:
        self._by_count = way is Way.COUNTED
        self._wanted = deque(list(ids) if self._by_count else index.frame_pts[list(ids)].tolist())
        self._key = -1 if self._by_count else int(index.frame_pts[0]) - 1
        self._before: Any = None

    @property
    def saw_picture(self) -> bool:
        return self._before is not None

    def is_late(self, picture: Any) -> bool:
        """Pictures come out in order of display; a timestamp that says otherwise is wrong."""
        return not self._by_count and picture.pts is not None and picture.pts < self._key

    def take(self, picture: Any) -> Iterator[tuple[Any, bool]]:
        """The wanted frames this picture settles, and whether they are lost."""
        if not self._by_count and picture.pts is None:
            return
        self._key = self._key + 1 if self._by_count else picture.pts
        while self._wanted and self._wanted[0] < self._key:
            self._wanted.popleft()
            yield self._before or picture, True  # without one before it, the first there is
        if self._wanted and self._wanted[0] == self._key:
            self._wanted.popleft()
            yield picture, False
        self._before = picture

    def rest(self) -> list[Any]:
        """Pictures for the wanted frames that never came; none if there never was a picture."""
        return [self._before] * len(self._wanted) if self.saw_picture else []


@dataclass(frozen=True)
class _Run:
    """Packets `first` to `last` are decoded; `entry_pts` is None at the start of the file."""

    first: int
    last: int
    entry_pts: int | None


def _runs(index: PacketIndex, ids: Sequence[int]) -> list[_Run]:
    """The fewest packets that give `ids`: for each frame, from a keyframe up to its own packet."""
    lasts = index.packet_of_frame[list(ids)]
    groups = np.searchsorted(index.entries, lasts, side="right") - 1
    # A picture shown before its keyframe but stored after it also needs the group before.
    leading = index.frame_pts[list(ids)] < index.entry_pts[groups]
    groups = np.maximum(groups - leading, 0)
    runs: list[_Run] = []
    for group, last in sorted(zip(groups.tolist(), lasts.tolist(), strict=True)):
        first = int(index.entries[group])
        if runs and first <= runs[-1].last + 1:
            before = runs.pop()
            runs.append(_Run(before.first, max(before.last, last), before.entry_pts))
        else:
            runs.append(_Run(first, last, int(index.entry_pts[group]) if group else None))
    return runs


def _pictures(
    file: BinaryIO,
    index: PacketIndex,
    ids: Sequence[int],
    way: Way,
    threads: int,
    damage: Damage,
    budget: Budget,
) -> Iterator[Any]:
    """Decoded pictures in order of display, among them those of `ids`."""
    places = {int(place) for place in index.packet_of_frame[list(ids)]}
    if way is Way.FAST:
        runs = _runs(index, ids)
    else:  # counting needs every picture, whichever packet it came in
        runs = [_Run(0, max(places) if way is Way.WHOLE else 1 << 62, None)]
    with open_video(file, threads) as (container, stream):
        final = int(index.packet_of_frame.max())
        pictures = sum(min(run.last, final) - run.first + 1 for run in runs)
        budget.add_pictures(pictures, stream.codec_context.width, stream.codec_context.height)
        packets = enumerate(_surviving(iter(Continuous(container, stream)), damage, budget))
        for run in runs:
            needed = places if index.may_skip and way is not Way.COUNTED else None
            shown = _run_pictures(stream.codec_context, packets, run, needed, damage)
            yield from shown if run.entry_pts is None else _from_entry(shown, run.entry_pts)
            stream.codec_context.flush_buffers()  # the next run must not see this one's pictures


def _run_pictures(
    codec: Any,
    packets: Iterator[tuple[int, Any]],
    run: _Run,
    needed: set[int] | None,
    damage: Damage,
) -> Iterator[Any]:
    for place, packet in packets:
        if place >= run.first:
            if needed is not None:
                codec.skip_frame = "DEFAULT" if place in needed else "NONREF"
            yield from _decoded(codec, packet, damage)
        if place >= run.last:
            break
    yield from _decoded(codec, None, damage)  # those it held back to put them in order


def _from_entry(pictures: Iterator[Any], entry_pts: int) -> Iterator[Any]:
    """The pictures from the keyframe on; those before it reference missing data."""
    is_first = True
    for picture in pictures:
        if picture.pts is not None and picture.pts >= entry_pts:
            if is_first and not (picture.key_frame and picture.pts == entry_pts):
                raise GoSlower(Way.WHOLE)
            is_first = False
            yield picture
    if is_first:
        raise GoSlower(Way.WHOLE)


def _decoded(codec: Any, packet: Any, damage: Damage) -> list[Any]:
    try:
        return codec.decode(packet)
    except av.error.EOFError:  # drained already
        return []
    except av.error.FFmpegError as error:
        logger.debug("%s: a packet could not be decoded: %s", damage.name, error)
        damage.complaints += 1
        return []


def _surviving(packets: Iterator[Any], damage: Damage, budget: Budget) -> Iterator[Any]:
    """The packets up to where the file can no longer be read."""
    try:
        for packet in packets:
            budget.check_time()
            yield packet
    except av.error.FFmpegError as error:
        logger.debug("%s: reading stopped: %s", damage.name, error)
        damage.complaints += 1
