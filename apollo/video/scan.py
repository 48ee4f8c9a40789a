"""One reading of all packets of a video track: their timestamps, and how far these can be trusted.

In: an open container. Out: a `Scan`.
Odd: some containers have no timestamps or make them up, so that they follow the order of storage;
what shows this is in the first packets, which are decoded where there is doubt.
"""

from __future__ import annotations

import contextlib
import logging
import os
from array import array
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import av
import numpy as np

from apollo.video.budget import Budget
from apollo.video.clock import Continuous
from apollo.video.container import open_video
from apollo.video.display import Screen, pixel_aspect_of

logger = logging.getLogger(__name__)

# Timestamps of these are made up by FFmpeg or written by programs that do not know the order of
# display: they may follow the order of storage.
_MAKES_UP = {"avi", "asf", "mxf", "m4v", "mpegvideo", "h264", "hevc", "obu"}
# Raw streams without a container: nothing but the codec's own header can tell their rate.
RAW = {"m4v", "mpegvideo", "h264", "hevc", "vvc", "obu", "mjpeg", "vc1", "h261", "h263"}
NEVER = -(1 << 63)
_FIRST_PACKETS = 32  # looked at closely where the order of display is in doubt
_DIRAC_END = b"BBCD\x10"  # the mark of the end of a sequence
_VOP = b"\0\0\1\xb6"  # begins a picture of MPEG-4 part 2


def _numbers() -> array[int]:
    return array("q")


@dataclass
class Scan:
    """What one reading of all packets found."""

    # numbers of 8 bytes each: a long video has hundreds of thousands
    pts: array[int] = field(default_factory=_numbers)  # (F,) as stored; NEVER where there is none
    dts: array[int] = field(default_factory=_numbers)  # (F,)
    places: array[int] = field(default_factory=_numbers)
    entries: list[int] = field(default_factory=list)
    entry_pts: list[int] = field(default_factory=list)
    packets: int = 0
    corrupt_tail: int = 0
    last_duration: int = 0
    last_pts: int = NEVER  # of the frame shown last
    is_in_order: bool = True  # stored as shown, which frames that refer to later ones cannot be
    first_pictures: list[int] = field(default_factory=list)  # timestamps, as they were decoded
    is_packed: bool = False  # two pictures in a packet
    restarts: int = 0
    broke_off: bool = False
    is_encrypted: bool = False
    picture_size: tuple[int, int] = (0, 0)  # width and height, as shown

    def add(self, codec_name: str, packet: Any) -> None:
        place = self.packets
        self.packets += 1
        self.is_encrypted |= packet.has_sidedata("encryption_info")
        if codec_name == "dirac" and bytes(packet).startswith(_DIRAC_END):
            return  # transport streams have a packet for the mark of the end alone
        if packet.is_discard:  # decoded for those after it, not shown: cut away by an edit list
            return
        self.pts.append(NEVER if packet.pts is None else packet.pts)
        self.dts.append(NEVER if packet.dts is None else packet.dts)
        self.places.append(place)
        self.corrupt_tail = self.corrupt_tail + 1 if packet.is_corrupt else 0
        if packet.pts is None:
            return
        self.is_in_order &= packet.pts > self.last_pts
        if packet.pts > self.last_pts:
            self.last_pts = packet.pts
            self.last_duration = packet.duration or 0
        if packet.is_keyframe:
            self.entries.append(place)
            self.entry_pts.append(packet.pts)

    def is_made_up(self, container: Any, stream: Any) -> bool:
        """Whether timestamps follow the order of storage although frames are shown in another."""
        may_be = container.format.name in _MAKES_UP and NEVER not in self.dts
        return may_be and stream.codec_context.has_b_frames > 0 and self.is_in_order

    def has_own_pts(self, container: Any, stream: Any) -> bool:
        """Whether there is a packet with a timestamp for each picture."""
        is_raw = container.format.name in RAW and stream.codec_context.has_b_frames > 0
        has_twins = len(np.unique(self.pts)) < len(self.pts)
        return not (is_raw or self.is_packed or has_twins or NEVER in self.pts)

    def lasts(self, container: Any, stream: Any) -> int:
        """How long the frame shown last stays, in ticks; 0 if that is not stored.

        mp4 keeps this with the packet stored last, which may be another.
        """
        is_whole = stream.frames == self.packets == len(self.pts) and not self.broke_off
        if is_whole and "mp4" in container.format.name and stream.duration:
            first = min(stamp for stamp in self.pts if stamp != NEVER)
            return max(self.last_duration, first + stream.duration - self.last_pts)
        return self.last_duration

    def look(self, stream: Any, packet: Any | None, may_lie: bool) -> None:
        """Decodes what tells the size and, where packets may lie, their order of display.

        The size must come from a picture: only a decoded picture carries its rotation.
        """
        codec = stream.codec_context
        is_early = self.packets < _FIRST_PACKETS
        if packet is not None and codec.name == "mpeg4" and is_early:
            self.is_packed |= bytes(packet).count(_VOP) > 1
        in_doubt = may_lie and codec.has_b_frames and self.is_in_order and is_early
        if self.picture_size != (0, 0) and not in_doubt:
            return
        try:
            pictures = codec.decode(packet)
        except av.error.FFmpegError:
            return  # a later packet may decode; if none does, the caller says so
        for picture in pictures:
            if self.picture_size == (0, 0):
                self.picture_size = Screen(pixel_aspect_of(stream)).size_of(picture)
            if picture.pts is not None:
                self.first_pictures.append(picture.pts)


def scan_packets(container: Any, stream: Any) -> Scan:
    scan = Scan()
    packets = Continuous(container, stream)
    may_lie = container.format.name not in _MAKES_UP
    try:
        for packet in packets:
            scan.look(stream, packet, may_lie)
            scan.add(stream.codec_context.name, packet)
    except av.error.FFmpegError as error:
        logger.debug("reading %s stopped at packet %d: %s", container.name, scan.packets, error)
        scan.broke_off = True
    scan.look(stream, None, may_lie)
    scan.restarts = packets.restarts
    is_timed = scan.last_pts > NEVER and not scan.restarts
    if is_timed and packets.empty_end > scan.last_pts + scan.last_duration:
        scan.last_duration = packets.empty_end - scan.last_pts
    if 0 < scan.corrupt_tail < len(scan.pts):  # the file was cut off within these packets
        for kept in (scan.pts, scan.dts, scan.places):
            del kept[-scan.corrupt_tail :]
        scan.last_pts = max((stamp for stamp in scan.pts if stamp != NEVER), default=0)
        scan.broke_off = True
    return scan


def pictures_of(file: BinaryIO, packets: int) -> list[int | None]:
    """The timestamps of all pictures in order of display. Packets that have none of their own
    cannot be counted instead: some are half a picture, or none, or two."""
    found: list[int | None] = []
    budget = Budget(os.path.basename(file.name))
    with open_video(file, threads=2) as (container, stream):
        codec = stream.codec_context
        budget.add_pictures(packets, codec.width, codec.height)
        with contextlib.suppress(av.error.FFmpegError):  # the first scan has told where it ends
            for packet in Continuous(container, stream):
                with contextlib.suppress(av.error.FFmpegError):
                    found += [picture.pts for picture in codec.decode(packet)]
        with contextlib.suppress(av.error.FFmpegError):
            found += [picture.pts for picture in codec.decode(None)]
    return found
