"""Opening a video file that may be anything, and saying in one sentence why it cannot be opened.

In: a path, possibly of a hostile upload. Out: an open container and its video track, or a
`VideoError` that names the file and the remedy.
The odd part: only local files and only video formats are opened, because a playlist would let an
upload read other files.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
from PIL import Image

from apollo.errors import VideoError

MAX_SIDE = 8192  # pixels; one RGB frame of that size is 201 MB
_BUFFER_BYTES = 1 << 18

# Names of FFmpeg's demuxers. Left out on purpose: playlists (hls, dash, concat, sdp), pictures.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,live_flv,ogg,asf,"
    "asf_o,gif,ivf,mxf,nut,wtv,rm,dv,h261,h263,h264,hevc,vvc,av1,obu,vc1,mjpeg,"
    "mp3,aac,flac,wav,aiff,amr,ac3,eac3,w64,caf,ape,wv,tta,adts"  # to say "only sound"
)


def existing_file(path: str | os.PathLike[str]) -> str:
    """The absolute path, if there is something in it to open."""
    text = os.path.abspath(os.fspath(path))
    name = os.path.basename(text)
    if "\0" in text or not os.path.exists(text):
        raise VideoError(f"No such video file: {name}; check the path.")
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


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """The file itself, unbuffered: FFmpeg reads it in large pieces.

    Raises:
        VideoError: there is nothing that could be a video.
    """
    checked = existing_file(path)
    try:
        return open(checked, "rb", buffering=0)
    except OSError as error:
        raise VideoError(_not_readable(checked, error)) from error


class Cursor:
    """A place of its own in an open file that others read too."""

    def __init__(self, file: BinaryIO) -> None:
        self.name = file.name
        self._file = file
        self._place = 0

    def read(self, size: int) -> bytes:
        self._file.seek(self._place)
        content = self._file.read(size)
        self._place += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._place
        self._place = self._file.seek(offset, os.SEEK_SET if whence == os.SEEK_CUR else whence)
        return self._place

    def tell(self) -> int:
        return self._place


@contextlib.contextmanager
def open_video(file: BinaryIO, threads: int) -> Iterator[tuple[Any, Any]]:
    """The container in the file, from its start, and its video track, ready to demux and decode.

    The file stays open. Several containers may read it in turns, from one thread.
    """
    path = file.name
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _FORMATS,
    }
    try:
        container = av.open(
            Cursor(file), options=options, metadata_errors="replace", buffer_size=_BUFFER_BYTES
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(_why_not_open(path, error)) from error
    with container:
        stream = _video_track(container, path)
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_SIDE * MAX_SIDE)}
        yield container, stream


def _video_track(container: Any, path: str) -> Any:
    name = os.path.basename(path)
    tracks = [
        track
        for track in container.streams.video
        if not track.disposition & av.stream.Disposition.attached_pic
    ]
    if not tracks:
        if len(container.streams) > 0:
            raise VideoError(f"{name} has no video track, only sound; give a file with pictures.")
        raise VideoError(f"{name} has no video frames; record or convert it again.")
    best = container.streams.best("video")
    track = best if best in tracks else tracks[0]
    codec = track.codec_context
    if codec is None:
        raise VideoError(
            f"{name} uses the codec {_codec_code(path)}, which this build cannot decode; "
            "convert it to H.264."
        )
    if max(codec.width, codec.height) > MAX_SIDE:
        raise VideoError(
            f"{name} has pictures of {codec.width}x{codec.height} pixels; "
            f"make them at most {MAX_SIDE}x{MAX_SIDE}."
        )
    return track


def _codec_code(path: str) -> str:
    """What the file calls a codec that FFmpeg has no name for: it does not pass that on."""
    with open(path, "rb") as file:
        head = file.read(1 << 20)
        file.seek(max(len(head), os.path.getsize(path) - (1 << 20)))
        both = head + file.read()
    found = re.search(rb"vide.*?stsd.{12}([!-~]{4})", both, re.DOTALL)  # mp4, mov
    found = found or re.search(rb"(V_[A-Z0-9/_]{2,40})", both)  # mkv, webm
    return found.group(1).decode("ascii") if found else "of an unknown kind"


def _why_not_open(path: str, error: Exception) -> str:
    name = os.path.basename(path)
    if isinstance(error, OSError) and not isinstance(error, av.error.FFmpegError):
        return _not_readable(path, error)
    if is_picture(path):
        return f"{name} is a picture, not a video; give it as an image."
    boxes = _mp4_boxes(path)
    if b"ftyp" in boxes and b"moov" not in boxes:
        return (
            f"{name} is incomplete: its index (moov) is missing, so it was probably cut off; "
            "record or download it again."
        )
    return f"{name} is not a video file this program can read; convert it to mp4 first."


def _not_readable(path: str, error: OSError) -> str:
    return f"{os.path.basename(path)} cannot be read ({error.strerror}); check the file."


def _mp4_boxes(path: str) -> list[bytes]:
    """The kinds of the outermost boxes, if the file is an mp4."""
    kinds: list[bytes] = []
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        place = 0
        while place + 8 <= size and len(kinds) < 100:
            file.seek(place)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # a 64-bit length follows
                length = int.from_bytes(head[8:16], "big")
            kinds.append(head[4:8])
            if length < 8:  # 0 is "up to the end of the file"; less is not an mp4
                break
            place += length
    return kinds


def is_picture(path: str) -> bool:
    """Whether Pillow knows the format. It also knows moving GIFs; callers ask about those first."""
    try:
        with Image.open(path) as image:
            return image.format != "MPEG"  # Pillow knows the name of that one, no more
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    except Image.DecompressionBombWarning:
        return True
