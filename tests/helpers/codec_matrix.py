"""Codecs and containers that PyAV can write, and one small numbered file of each pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
from make_videos import write_video

CODECS: dict[str, tuple[str, dict[str, Any]]] = {
    "h264 with B-frames": ("libx264", {"gop": 24, "options": {"bf": "3"}}),
    "h264 with open groups": (
        "libx264",
        {"options": {"x264-params": "open-gop=1:bframes=8:b-pyramid=normal:keyint=40:ref=6"}},
    ),
    "h264 of keyframes": ("libx264", {"gop": 1}),
    "h264 without B-frames": ("libx264", {"options": {"bf": "0"}}),
    "hevc": ("libx265", {"options": {"x265-params": "log-level=none:keyint=30:bframes=4"}}),
    "mpeg4 with B-frames": ("mpeg4", {"gop": 24, "options": {"bf": "2", "qscale": "3"}}),
    "mpeg4": ("mpeg4", {"gop": 24, "options": {"qscale": "3"}}),
    "mpeg1": ("mpeg1video", {"gop": 15, "options": {"bf": "2", "qscale": "3"}}),
    "mpeg2": ("mpeg2video", {"gop": 15, "options": {"bf": "2", "qscale": "3"}}),
    "mpeg2 without B-frames": ("mpeg2video", {"gop": 15}),
    "vp8": (
        "libvpx",
        {"options": {"auto-alt-ref": "1", "lag-in-frames": "10", "deadline": "realtime"}},
    ),
    "vp9": (
        "libvpx-vp9",
        {"options": {"auto-alt-ref": "6", "lag-in-frames": "25", "cpu-used": "8"}},
    ),
    "av1": ("libsvtav1", {"gop": 30, "options": {"preset": "7", "crf": "4"}}),
    "av1 of keyframes": ("libsvtav1", {"gop": 1, "options": {"preset": "10", "crf": "15"}}),
    "mjpeg": ("mjpeg", {"pix_fmt": "yuvj420p"}),
    "ffv1": ("ffv1", {}),
    "h263": ("h263p", {"options": {"qscale": "3"}}),
    "wmv1": ("wmv1", {"options": {"qscale": "3"}}),
    "wmv2": ("wmv2", {"options": {"qscale": "3"}}),
    "prores": ("prores_ks", {"pix_fmt": "yuv422p10le"}),
    "dnxhd": (
        "dnxhd",
        {"pix_fmt": "yuv422p", "options": {"profile": "dnxhr_sq"}, "size": (256, 128)},
    ),
    "flv": ("flv", {"options": {"qscale": "3"}}),
    "msmpeg4": ("msmpeg4", {"options": {"qscale": "3"}}),
    "huffyuv": ("huffyuv", {"pix_fmt": "yuv422p"}),
    "png": ("png", {"pix_fmt": "rgb24"}),
}
CONTAINERS = [
    *("mp4", "mov", "mkv", "webm", "avi", "ts", "mpg", "flv", "ogv", "asf", "nut", "3gp", "ivf"),
    *("mxf", "rm", "wtv", "vob", "m2ts", "h264", "hevc", "m4v", "obu", "mjpeg"),
]


def write(folder: Path, codec: str, container: str, frames: int = 60) -> Path | None:
    """The file, or None where this pair cannot be written."""
    name, options = CODECS[codec]
    path = folder / f"video.{container}"
    try:
        write_video(path, codec=name, frames=frames, **options)
    except (av.error.FFmpegError, ValueError, LookupError):
        return None
    return path if path.stat().st_size > 500 else None
