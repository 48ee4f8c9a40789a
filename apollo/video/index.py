"""What is in a video file, packet by packet, before a picture is wanted.

In: an open file. Out: a `PacketIndex`, which says what frame has which timestamp, which packet
carries it and where decoding may begin.
The odd part: the containers' own frame counts and seek tables are not trusted, the packets are
read through once instead (0.5 s an hour of video).
"""

from __future__ import annotations

import enum
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np

from apollo.errors import VideoError
from apollo.video.clips import VideoInfo
from apollo.video.container import is_encrypted, is_picture, open_video
from apollo.video.display import Screen, pixel_aspect_of

logger = logging.getLogger(__name__)

# Without the packets between two keyframes the later one still decodes to the same pictures.
_MAY_DROP = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vp8", "vp9", "av1", "libdav1d"}
# One packet is one picture, and the decoder knows by itself which ones nothing refers to.
_MAY_SKIP = {"h264", "hevc", "mpeg1video", "mpeg2video"}


class Way(enum.Enum):
    """How a file may be decoded."""

    FAST = "by timestamp, from the keyframe before a wanted frame up to that frame"
    WHOLE = "by timestamp, every packet from the start"
    COUNTED = "by counting pictures, every packet from the start"


@dataclass(frozen=True)
class PacketIndex:
    """Frames in order of display (F of them), packets in the order they are stored (P)."""

    info: VideoInfo
    frame_pts: np.ndarray  # (F,) ascending
    packet_of_frame: np.ndarray  # (F,) place of the frame's packet among all packets
    entries: np.ndarray  # (E,) places of the packets decoding may begin at; the first is 0
    entry_pts: np.ndarray  # (E,)
    way: Way
    may_skip: bool
    warning: str | None
    pixel_aspect: Fraction  # width over height


def read_index(file: BinaryIO) -> PacketIndex:
    """Reads through the packets of an open file.

    Raises:
        VideoError: it is not a video that can be used.
    """
    path = file.name
    name = os.path.basename(path)
    with open_video(file, threads=1) as (container, stream):
        scan = _scan(container, stream)
        if scan.is_encrypted or is_encrypted(file):
            raise VideoError(f"{name} is encrypted; give a copy without copy protection.")
        if not scan.pts:
            if scan.saw_untimed:
                raise VideoError(f"{name} has no timestamps; put it into mp4 or mkv first.")
            raise VideoError(f"{name} has no video frames; record or convert it again.")
        is_moving = stream.codec_context.name in ("gif", "apng", "webp")
        if len(scan.pts) == 1 and not is_moving and is_picture(path):
            raise VideoError(f"{name} is a picture, not a video; give it as an image.")
        if scan.picture_size == (0, 0):
            raise VideoError(
                f"{name} is damaged: none of its frames could be decoded; send the file again."
            )
        index = _index_of(path, container, stream, scan)
    if index.warning:
        logger.warning(index.warning)
    return index


@dataclass
class _Scan:
    """What one reading of all packets found."""

    pts: list[int] = field(default_factory=list)  # (F,) as stored
    places: list[int] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)
    entry_pts: list[int] = field(default_factory=list)
    packets: int = 0
    corrupt_tail: int = 0
    last_duration: int = 0
    saw_untimed: bool = False
    broke_off: bool = False
    is_encrypted: bool = False
    picture_size: tuple[int, int] = (0, 0)  # width and height, as shown

    def add(self, packet: Any) -> None:
        place = self.packets
        self.packets += 1
        self.is_encrypted |= packet.has_sidedata("encryption_info")
        if packet.pts is None:
            self.saw_untimed = True
            return
        if packet.is_discard:  # decoded for those after it, not shown: cut away by an edit list
            return
        self.pts.append(packet.pts)
        self.places.append(place)
        self.last_duration = packet.duration or self.last_duration
        self.corrupt_tail = self.corrupt_tail + 1 if packet.is_corrupt else 0
        if packet.is_keyframe:
            self.entries.append(place)
            self.entry_pts.append(packet.pts)

    def look_for_size(self, stream: Any, packet: Any) -> None:
        """The size must come from a picture: only a decoded picture carries its rotation."""
        if self.picture_size != (0, 0):
            return
        try:
            pictures = stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            return  # a later packet may decode; if none does, the caller says so
        if pictures:
            self.picture_size = Screen(pixel_aspect_of(stream)).size_of(pictures[0])


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """The packets in the order they are stored, without the empty one that marks the end."""
    return (packet for packet in container.demux(stream) if packet.size > 0)


def _scan(container: Any, stream: Any) -> _Scan:
    scan = _Scan()
    try:
        for packet in packets_of(container, stream):
            scan.look_for_size(stream, packet)
            scan.add(packet)
    except av.error.FFmpegError as error:
        logger.debug("reading %s stopped at packet %d: %s", container.name, scan.packets, error)
        scan.broke_off = True
    scan.look_for_size(stream, None)
    if 0 < scan.corrupt_tail < len(scan.pts):  # the file was cut off within these packets
        del scan.pts[-scan.corrupt_tail :], scan.places[-scan.corrupt_tail :]
        scan.broke_off = True
    return scan


def _index_of(path: str, container: Any, stream: Any, scan: _Scan) -> PacketIndex:
    order = np.argsort(np.array(scan.pts, np.int64), kind="stable")
    frame_pts = np.array(scan.pts, np.int64)[order]  # (F,)
    places = np.array(scan.places, np.int64)[order]  # (F,)
    entries, entry_pts = scan.entries, scan.entry_pts
    if not entries or entries[0] > 0:
        entries, entry_pts = [0, *entries], [int(frame_pts[0]), *entry_pts]
    fps, read_s = _rate_and_length(os.path.basename(path), stream, frame_pts, scan)
    codec = stream.codec_context.name
    info = VideoInfo(
        path=path,
        fps=fps,
        num_frames=len(frame_pts),
        duration_s=len(frame_pts) / fps,
        width=scan.picture_size[0],
        height=scan.picture_size[1],
        codec=codec,
    )
    return PacketIndex(
        info=info,
        frame_pts=frame_pts,
        packet_of_frame=places,
        entries=np.array(entries, np.int64),
        entry_pts=np.array(entry_pts, np.int64),
        way=_way(container, stream, scan, frame_pts),
        may_skip=codec in _MAY_SKIP,
        warning=_warning(container, stream, scan, read_s),
        pixel_aspect=pixel_aspect_of(stream),
    )


def _way(container: Any, stream: Any, scan: _Scan, frame_pts: np.ndarray) -> Way:
    codec = stream.codec_context
    has_twins = bool(np.any(np.diff(frame_pts) == 0))
    # AVI stores packets without timestamps; those FFmpeg makes up may follow the stored order.
    is_made_up = (
        container.format.name == "avi"
        and codec.has_b_frames > 0
        and bool(np.all(np.diff(scan.pts) > 0))
    )
    if scan.saw_untimed or has_twins or is_made_up:
        return Way.COUNTED
    return Way.FAST if codec.name in _MAY_DROP else Way.WHOLE


def _rate_and_length(
    name: str, stream: Any, frame_pts: np.ndarray, scan: _Scan
) -> tuple[float, float]:
    """Frames a second and seconds there are. The container's average rate is what other loaders
    use; where the timestamps contradict it (some recorders write nonsense) they are right."""
    base_s = float(stream.time_base)
    frames = len(frame_pts)
    shown_s = float(frame_pts[-1] - frame_pts[0]) * base_s
    last_s = scan.last_duration * base_s
    if not last_s and frames > 1:
        last_s = shown_s / (frames - 1)
    read_s = shown_s + last_s
    stated = float(stream.average_rate or 0)
    timed = frames / read_s if read_s > 0 else 0.0
    if not stated and not timed:
        raise VideoError(f"{name} gives no frame rate; put it into mp4 or mkv first.")
    if not stated or (timed and frames > 1 and abs(stated / timed - 1) > 0.05):
        return timed, read_s
    return stated, read_s


def _warning(container: Any, stream: Any, scan: _Scan, read_s: float) -> str | None:
    """A sentence if the file promises more than it holds."""
    promised_s = 0.0
    if stream.duration:
        promised_s = float(stream.duration * stream.time_base)
    elif "DURATION" in stream.metadata:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        promised_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    elif container.duration and len(container.streams) == 1:
        promised_s = container.duration / av.time_base
    if scan.broke_off and stream.frames > scan.packets and stream.average_rate:
        promised_s = max(promised_s, float(stream.frames / stream.average_rate))
    missing_s = promised_s - read_s
    name = os.path.basename(container.name)
    if missing_s > max(0.5, 0.02 * promised_s) or (scan.broke_off and missing_s > 0):
        return (
            f"{name} ends early: {read_s:.1f} of {promised_s:.1f} seconds could be read; "
            "send the whole file to have the rest."
        )
    return None
