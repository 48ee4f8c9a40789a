"""What is in a video file, packet by packet, before a picture is wanted.

In: a path, possibly of a hostile upload. Out: a `PacketIndex`, which says what frame has which
timestamp, which packet carries it and where decoding may begin; or a `VideoError` that says in one
sentence what is wrong with the file.
The odd parts: the containers' own frame counts and seek tables are not trusted, the packets are
read through once instead (0.5 s an hour of video); only local files and only video formats are
opened, because a playlist would let an upload read other files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from apollo.clips import VideoInfo
from apollo.errors import VideoError

logger = logging.getLogger(__name__)

MAX_SIDE = 8192  # pixels; one RGB frame of that size is 201 MB

# Names of FFmpeg's demuxers. Left out on purpose: playlists (hls, dash, concat, sdp), pictures.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,live_flv,ogg,asf,"
    "asf_o,gif,ivf,mxf,nut,wtv,rm,dv,h261,h263,h264,hevc,vvc,av1,obu,vc1,mjpeg,"
    "mp3,aac,flac,wav,aiff,amr,ac3,eac3,w64,caf,ape,wv,tta,adts"  # to say "only sound"
)
# Without the packets between two keyframes the later one still decodes to the same pictures.
_MAY_DROP = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vp8", "vp9", "av1", "libdav1d"}
# One packet is one picture, and the decoder knows by itself which ones nothing refers to.
_MAY_SKIP = {"h264", "hevc", "mpeg1video", "mpeg2video"}
_BITS_OF_JPEG = {"mjpeg"}


@dataclass(frozen=True)
class PacketIndex:
    """Frames in order of display (F of them), packets in the order they are stored (P)."""

    info: VideoInfo
    stream_index: int
    frame_pts: np.ndarray  # (F,) ascending
    packet_of_frame: np.ndarray  # (F,) place of the frame's packet among all packets
    entries: np.ndarray  # (E,) places of the packets decoding may begin at; the first is 0
    entry_pts: np.ndarray  # (E,)
    may_drop: bool
    may_skip: bool
    warning: str | None


def read_index(path: str | os.PathLike[str]) -> PacketIndex:
    """The index of the file as it is now; the last few are kept."""
    checked = _existing_file(path)
    state = os.stat(checked)
    return _read_index(checked, state.st_size, state.st_mtime_ns)


@contextlib.contextmanager
def open_video(path: str, threads: int) -> Iterator[tuple[Any, Any]]:
    """The container and its video track, ready to demux and decode."""
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _FORMATS,
        "fflags": "+genpts",  # AVI stores no timestamps for B-frames
    }
    try:
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(_why_not_open(path, error)) from error
    with container:
        stream = _video_track(container, os.path.basename(path))
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_SIDE * MAX_SIDE)}
        yield container, stream


def _existing_file(path: str | os.PathLike[str]) -> str:
    text = os.path.abspath(os.fspath(path))
    name = os.path.basename(text)
    if "\0" in text or not os.path.exists(text):
        raise VideoError(f"No such video file: {name!r}; check the path.")
    if os.path.isdir(text):
        raise VideoError(f"{name} is a folder, not a video file; give a file in it.")
    if not os.path.isfile(text):
        raise VideoError(f"{name} is a device or a pipe, not a video file; save it first.")
    if not os.access(text, os.R_OK):
        raise VideoError(f"{name} may not be read by this user; change its permissions.")
    if os.path.getsize(text) == 0:
        raise VideoError(
            f"{name} is empty (0 bytes); the upload may not have finished, so send it again."
        )
    return text


@lru_cache(maxsize=8)
def _read_index(path: str, size: int, mtime_ns: int) -> PacketIndex:
    name = os.path.basename(path)
    with open_video(path, threads=1) as (container, stream):
        scan = _scan(container, stream)
        if not scan.pts and not scan.saw_untimed:
            raise VideoError(f"{name} has no video frames; record or convert it again.")
        if not scan.pts:
            raise VideoError(f"{name} has no timestamps; put it into mp4 or mkv first.")
        if len(scan.pts) == 1 and stream.codec_context.name != "gif" and is_picture(path):
            raise VideoError(_picture_sentence(name))
        if scan.first_picture is None:
            raise VideoError(
                f"{name} is damaged: none of its frames could be decoded; get it again."
            )
        return _index_of(path, container, stream, scan)


@dataclass
class _Scan:
    """What one reading of all packets found."""

    pts: list[int]
    places: list[int]
    entries: list[int]
    entry_pts: list[int]
    last_duration: int = 0
    saw_untimed: bool = False
    broke_off: bool = False
    first_picture: Any = None


def _scan(container: Any, stream: Any) -> _Scan:
    scan = _Scan([], [], [], [])
    place = -1
    try:
        for packet in container.demux(stream):
            if packet.size == 0:  # the demuxer's end mark
                continue
            place += 1
            if scan.first_picture is None:
                scan.first_picture = _first_picture(stream.codec_context, packet)
            if packet.is_corrupt and packet.pts is None:
                scan.broke_off = True
            if packet.pts is None:
                scan.saw_untimed = True
            elif not packet.is_discard:
                scan.pts.append(packet.pts)
                scan.places.append(place)
                scan.last_duration = packet.duration or scan.last_duration
                if packet.is_keyframe:
                    scan.entries.append(place)
                    scan.entry_pts.append(packet.pts)
    except av.error.FFmpegError as error:
        logger.debug("demuxing %s stopped at packet %d: %s", container.name, place, error)
        scan.broke_off = True
    if scan.first_picture is None:
        scan.first_picture = _first_picture(stream.codec_context, None)
    return scan


def _first_picture(codec: Any, packet: Any) -> Any:
    try:
        return next(iter(codec.decode(packet)), None)
    except av.error.FFmpegError:
        return None  # a later packet may decode; that none does is reported by the caller
