"""Opening a video file that may be anything, and saying in one sentence why it cannot be opened.

In: a path, possibly of a hostile upload. Out: an open container and its video track, or a
`VideoError` that names the file and the remedy.
The odd part: only local files and only video formats are opened, because a playlist would let an
upload read other files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
from PIL import Image

from apollo.errors import VideoError
from apollo.video.formats import DECODERS, DEMUXERS, VIDEO_DECODERS
from apollo.video.webp import WebpContainer, is_animated_webp

MAX_SIDE = 8192  # pixels; one RGB frame of that size is 201 MB
_BUFFER_BYTES = 1 << 18
# Decoding several frames of these at once, FFmpeg's threads wait for ever for a damaged one.
_WAIT_FOR_EVER = {"hevc", "vvc"}


def existing_file(path: str | os.PathLike[str]) -> str:
    """The absolute path, if there is something in it to open."""
    text = os.path.abspath(os.fspath(path))
    name = os.path.basename(text)
    if "\0" in text or not os.path.exists(text):
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", os.fsdecode(path)):
            raise VideoError(
                f"{name} is given as an address, and only files are read; download it first."
            )
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
        """The new place; negative, as FFmpeg wants it, where a damaged file points outside."""
        if whence == os.SEEK_CUR:
            offset += self._place
        try:
            self._place = self._file.seek(offset, os.SEEK_SET if whence == os.SEEK_CUR else whence)
        except (OSError, OverflowError):
            return -errno.EINVAL
        return self._place

    def tell(self) -> int:
        return self._place


@contextlib.contextmanager
def open_video(file: BinaryIO, threads: int) -> Iterator[tuple[Any, Any]]:
    """The container in the file, from its start, and its video track, ready to demux and decode.

    The file stays open. Several containers may read it in turns, from one thread.
    """
    path = file.name
    if is_animated_webp(file):
        webp = WebpContainer(file)
        _check_size(path, webp.stream.codec_context)
        yield webp, webp.stream
        return
    if is_heif_still(file):  # FFmpeg would take its tiles for video tracks
        raise VideoError(_is_a_picture(path))
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": DEMUXERS,
        "codec_whitelist": DECODERS,
    }
    try:
        container: Any = av.open(
            Cursor(file), options=options, metadata_errors="replace", buffer_size=_BUFFER_BYTES
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(_why_not_open(file, error)) from error
    with container:
        stream = _video_track(container, file)
        codec = _decoder_of(stream)
        codec.thread_count = threads
        codec.thread_type = "SLICE" if codec.name in _WAIT_FOR_EVER else "AUTO"
        codec.options = {"max_pixels": str(MAX_SIDE * MAX_SIDE), "codec_whitelist": DECODERS}
        yield _with_decoder(container, stream, codec)


def _with_decoder(container: Any, stream: Any, codec: Any) -> tuple[Any, Any]:
    if codec is stream.codec_context:
        return container, stream
    track = _Instead(stream, codec_context=codec)
    return _Instead(container, demux=lambda _: container.demux(stream)), track


class _Instead:
    """An object of PyAV with some of its attributes replaced; they cannot be set."""

    def __init__(self, real: Any, **attributes: Any) -> None:
        self._real = real
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _decoder_of(stream: Any) -> Any:
    """FFmpeg's own decoders of VP8 and VP9 drop the transparency that WebM keeps beside a frame."""
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    if stream.metadata.get("alpha_mode") != "1" or name not in av.codecs_available:
        return stream.codec_context
    return av.CodecContext.create(name, "r")


def _video_track(container: Any, file: BinaryIO) -> Any:
    name = os.path.basename(file.name)
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
    if codec is None or codec.name not in VIDEO_DECODERS:
        raise VideoError(
            f"{name} uses the codec {codec.name if codec else _codec_code(file)}, which this build "
            "cannot decode; convert it to H.264."
        )
    _check_size(file.name, codec)
    return track


def _check_size(path: str, codec: Any) -> None:
    if max(codec.width, codec.height) > MAX_SIDE:
        raise VideoError(
            f"{os.path.basename(path)} has pictures of {codec.width}x{codec.height} pixels; "
            f"make them at most {MAX_SIDE}x{MAX_SIDE}."
        )


def _codec_code(file: BinaryIO) -> str:
    """What the file calls a codec that FFmpeg has no name for: it does not pass that on."""
    file.seek(0)
    head = file.read(1 << 20)
    file.seek(max(len(head), os.fstat(file.fileno()).st_size - (1 << 20)))
    both = head + file.read()
    found = re.search(rb"vide.*?stsd.{12}([!-~]{4})", both, re.DOTALL)  # mp4, mov
    found = found or re.search(rb"(V_[A-Z0-9/_]{2,40})", both)  # mkv, webm
    return found.group(1).decode("ascii") if found else "of an unknown kind"


def _why_not_open(file: BinaryIO, error: Exception) -> str:
    path = file.name
    name = os.path.basename(path)
    if isinstance(error, OSError) and not isinstance(error, av.error.FFmpegError):
        return _not_readable(path, error)
    if is_picture(path):
        return _is_a_picture(path)
    boxes = _mp4_boxes(file)
    if b"ftyp" in boxes and b"moov" not in boxes:
        return (
            f"{name} is incomplete: its index (moov) is missing, so it was probably cut off; "
            "record or download it again."
        )
    return f"{name} is not a video file this program can read; convert it to mp4 first."


def _is_a_picture(path: str) -> str:
    return f"{os.path.basename(path)} is a picture, not a video; give it as an image."


def _not_readable(path: str, error: OSError) -> str:
    return f"{os.path.basename(path)} cannot be read ({error.strerror}); check the file."


def _mp4_boxes(file: BinaryIO) -> list[bytes]:
    """The kinds of the outermost boxes, if the file is an mp4."""
    kinds: list[bytes] = []
    size = os.fstat(file.fileno()).st_size
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


def is_heif_still(file: BinaryIO) -> bool:
    """Whether this is a HEIC or AVIF photo; a film in the same container has a moov box."""
    file.seek(0)
    head = file.read(12)
    stills = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")
    return head[4:8] == b"ftyp" and head[8:12] in stills and b"moov" not in _mp4_boxes(file)


def is_encrypted(file: BinaryIO) -> bool:
    """Whether the track of a WebM or the codec of an mp4 says so."""
    file.seek(0)
    head = file.read(1 << 16).split(b"\x1f\x43\xb6\x75")[0]  # what precedes the first cluster
    if head.startswith(b"\x1a\x45\xdf\xa3"):  # ContentEncodings > ContentEncryption > algorithm
        mark = rb"\x6d\x80.{1,40}?\x50\x35.{1,8}?\x47[\xe1\xe2\xe7]"
        return re.search(mark, head, re.DOTALL) is not None
    return head[4:8] == b"ftyp" and _codec_code(file) == "encv"


def is_picture(path: str) -> bool:
    """Whether Pillow knows the format; callers rule out GIF videos first."""
    try:
        with Image.open(path) as image:
            return image.format != "MPEG"  # Pillow recognises MPEG but cannot read it
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    except Image.DecompressionBombWarning:
        return True
