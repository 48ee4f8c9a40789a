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
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np

from apollo.data.heap import trim_heap
from apollo.errors import VideoError
from apollo.video.clock import Clock, clock_of, filled_in, offset_of
from apollo.video.container import is_encrypted, is_picture, open_video
from apollo.video.display import pixel_aspect_of
from apollo.video.info import VideoInfo
from apollo.video.scan import RAW, Scan, pictures_of, scan_packets

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
    try:
        return _read_index(file)
    finally:
        trim_heap()  # what listing the packets took


def _read_index(file: BinaryIO) -> PacketIndex:
    path = file.name
    name = os.path.basename(path)
    with open_video(file, threads=1) as (container, stream):
        scan = scan_packets(container, stream)
        if scan.is_encrypted or is_encrypted(file):
            raise VideoError(f"{name} is encrypted; give a copy without copy protection.")
        if not scan.places:
            raise VideoError(f"{name} has no video frames; record or convert it again.")
        is_moving = stream.codec_context.name in ("gif", "apng", "webp")
        if len(scan.places) == 1 and not is_moving and is_picture(path):
            raise VideoError(f"{name} is a picture, not a video; give it as an image.")
        has_pictures, pictures_pts = scan.picture_size != (0, 0), None
        if has_pictures and not scan.has_own_pts(container, stream):
            pictures_pts = pictures_of(file, scan.packets)
        if not has_pictures or pictures_pts == []:
            raise VideoError(
                f"{name} is damaged: none of its frames could be decoded; send the file again."
            )
        return _index_of(path, container, stream, scan, pictures_pts)


def _header_fps(container: Any, stream: Any) -> float:
    """The rate that is written down: for a raw stream in the codec's header, if anywhere."""
    rates = [stream.average_rate, stream.codec_context.framerate]
    return float(next(filter(None, rates[:: -1 if container.format.name in RAW else 1]), 0))


def _index_of(
    path: str, container: Any, stream: Any, scan: Scan, pictures_pts: list[int | None] | None
) -> PacketIndex:
    name, codec = os.path.basename(path), stream.codec_context.name
    header_fps = _header_fps(container, stream)
    if pictures_pts is not None:
        step = 1 / (header_fps * float(stream.time_base)) if header_fps else 0.0
        frame_pts = filled_in(pictures_pts, step)  # (F,)
        places = np.arange(len(frame_pts))  # about: all packets are decoded anyway
        entries, entry_pts = [0], [int(frame_pts[0])]
    else:
        is_made_up = scan.is_made_up(container, stream)
        stamps = np.array(scan.dts if is_made_up else scan.pts, np.int64)  # (F,) as stored
        order = np.argsort(stamps, kind="stable")
        frame_pts = stamps[order]  # (F,)
        places = np.array(scan.places, np.int64)[order]  # (F,)
        entries, entry_pts = scan.entries, scan.entry_pts
        if not entries or entries[0] > 0:
            entries, entry_pts = [0, *entries], [int(frame_pts[0]), *entry_pts]
    clock = clock_of(
        frame_pts,
        stream.time_base,
        last_s=float(scan.lasts(container, stream) * stream.time_base),
        header_fps=header_fps,
        offset_s=offset_of(container, float(frame_pts[0] * stream.time_base)),
    )
    if clock is None:
        raise VideoError(f"{name} gives no frame rate; put it into mp4 or mkv first.")
    info = VideoInfo(
        path=path,
        fps=clock.fps,
        num_frames=len(frame_pts),
        duration_s=clock.end_s,
        width=scan.picture_size[0],
        height=scan.picture_size[1],
        codec=codec,
        start_s=clock.start_s,
        starts_s=clock.starts_s,
        header_fps=header_fps or clock.fps,
    )
    return PacketIndex(
        info=info,
        frame_pts=_compact(frame_pts),
        packet_of_frame=_compact(places),
        entries=np.array(entries, np.int64),
        entry_pts=np.array(entry_pts, np.int64),
        way=Way.COUNTED if pictures_pts is not None else _way(container, stream, scan),
        may_skip=codec in _MAY_SKIP,
        warning=_warning(container, stream, scan, clock),
        pixel_aspect=pixel_aspect_of(stream),
    )


def _compact(numbers: np.ndarray) -> np.ndarray:
    """In half the bytes where they fit; indices are kept for the life of the process."""
    limits = np.iinfo(np.int32)
    fit = limits.min <= numbers.min(initial=0) and numbers.max(initial=0) <= limits.max
    return numbers.astype(np.int32) if fit else numbers


def _way(container: Any, stream: Any, scan: Scan) -> Way:
    codec = stream.codec_context
    pictures = scan.first_pictures
    is_wrong = any(later <= earlier for earlier, later in zip(pictures, pictures[1:], strict=False))
    if scan.is_made_up(container, stream) or is_wrong:
        return Way.COUNTED
    return Way.FAST if codec.name in _MAY_DROP else Way.WHOLE


def _warning(container: Any, stream: Any, scan: Scan, clock: Clock) -> str | None:
    """A sentence if the file promises more than it holds, or its rate is a guess."""
    name = os.path.basename(container.name)
    if container.format.name in RAW and not stream.codec_context.framerate:
        return (
            f"{name} does not say how fast it plays; {clock.fps:g} frames a second are assumed. "
            "Put it into mp4 or mkv to have its times right."
        )
    promised_s = _promised_s(container, stream)
    if scan.broke_off and stream.frames > scan.packets and stream.average_rate:
        promised_s = max(promised_s, float(stream.frames / stream.average_rate))
    read_s = clock.end_s - clock.start_s
    if {"matroska", "mp4"} & set(container.format.name.split(",")):  # these count from 0
        read_s = max(read_s, float((scan.last_pts + scan.last_duration) * stream.time_base))
    missing_s = promised_s - read_s
    is_short = missing_s > max(0.5, 0.02 * promised_s) or (scan.broke_off and missing_s > 0)
    if is_short and not scan.restarts:  # the length of glued files is anything
        return (
            f"{name} ends early: {read_s:.1f} of {promised_s:.1f} seconds could be read; "
            "send the whole file to have the rest."
        )
    return None


def _promised_s(container: Any, stream: Any) -> float:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    written = re.fullmatch(r"(\d+):(\d+):(\d+(?:[.,]\d+)?)", stream.metadata.get("DURATION", ""))
    if written:
        hours, minutes, seconds = written.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    if container.duration and len(container.streams) == 1:
        return container.duration / av.time_base
    return 0.0
