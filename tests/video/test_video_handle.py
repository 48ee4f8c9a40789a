"""A video is opened once; what was found out about an unchanged file is not found out again."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_videos import read_number, write_video

from apollo.data.recent import Recent
from apollo.errors import VideoError
from apollo.video import decoding, reader
from apollo.video.clips import plan_clips
from apollo.video.container import Cursor, open_file
from apollo.video.decoding import GoSlower
from apollo.video.index import Way
from apollo.video.reader import Video, probe


class Work:
    """How often files were opened, scanned and hashed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opens = self.scans = self.digests = 0
        open_file, read_index, digest = reader.open_file, reader.read_index, Video._digest

        def opening(path: Any) -> Any:
            self.opens += 1
            return open_file(path)

        def scanning(file: Any) -> Any:
            self.scans += 1
            return read_index(file)

        def hashing(video: Video) -> str:
            self.digests += 1
            return digest(video)

        monkeypatch.setattr(reader, "open_file", opening)
        monkeypatch.setattr(reader, "read_index", scanning)
        monkeypatch.setattr(Video, "_digest", hashing)

    def done(self) -> tuple[int, int, int]:
        return self.opens, self.scans, self.digests


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    reader._indices.clear()
    reader._digests.clear()
    return Work(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a.mp4", frames=40)


def test_everything_about_a_video_comes_from_one_open_file(path: Path, work: Work) -> None:
    with Video(path) as video:
        digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        assert video.digest == digest == video.digest
        clips = plan_clips(video.info, clip_duration_s=1)
        read = [read_number(f) for frames in video.read(clips) for f in frames]
    assert read == [i for clip in clips for i in clip.frame_ids]
    assert work.done() == (1, 1, 1)
    with Video(path) as video:
        assert video.digest == digest and video.info.num_frames == 40
    assert work.done() == (1, 1, 1)


def test_a_known_file_is_opened_when_its_frames_are_asked_for(path: Path, work: Work) -> None:
    with Video(path) as video:
        assert (video.num_opens, video.num_frames_read) == (1, 0)
    with Video(path) as video:
        assert (video.num_opens, video.num_frames_read) == (0, 0)
        assert [read_number(frame) for frame in video.frames([3, 3, 9])] == [3, 3, 9]
        assert [read_number(frame) for frame in video.frames([5])] == [5]
        assert (video.num_opens, video.num_frames_read) == (1, 3)
    with pytest.raises(ValueError, match="closed"):
        next(video.frames([0]))


def test_a_known_file_that_changes_before_it_is_opened_is_an_error(path: Path) -> None:
    with Video(path):
        pass
    with Video(path) as video:
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(VideoError, match=r"a\.mp4 has changed since"):
            next(video.frames([0]))
    path.unlink()
    with pytest.raises(VideoError, match=r"No such video file: a\.mp4"):
        Video(path)


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="names of open files are not everywhere")
def test_the_name_of_an_open_file_is_opened_at_once(path: Path) -> None:
    for _ in range(2):
        with path.open("rb") as file:
            video = Video(f"/dev/fd/{file.fileno()}")
        with video:
            assert [read_number(frame) for frame in video.frames([7])] == [7]


def test_a_changed_file_is_looked_at_again(path: Path, tmp_path: Path, work: Work) -> None:
    with Video(path) as video:
        before = video.digest
    stamp = path.stat()
    other = write_video(tmp_path / "b.mp4", frames=20)
    os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    os.replace(other, path)
    with Video(path) as video:
        assert video.info.num_frames == 20 and video.digest != before
    assert work.done() == (2, 2, 2)


def test_a_rewrite_of_the_same_size_and_time_is_noticed(path: Path, work: Work) -> None:
    with Video(path) as video:
        before = video.digest
    stamp, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with Video(path) as video:
        assert video.digest != before


def test_a_digest_and_a_second_reading_do_not_disturb_the_first(path: Path, work: Work) -> None:
    with Video(path) as video:
        slow, quick = video.frames(range(0, 40, 2)), video.frames(range(1, 40, 2))
        seen = []
        for first, second in zip(slow, quick, strict=True):
            seen += [read_number(first), read_number(second)]
            assert video.digest
        assert seen == list(range(40))


def test_a_file_that_is_no_video_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"a\.mp4 is not a video"):
        probe(tmp_path / "a.mp4")  # a file left open is a warning, and that an error


def test_when_the_careful_way_finds_nothing_more_the_frame_before_is_shown(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = decoding._pictures

    def breaking_off(*args: Any) -> Iterator[Any]:
        way, damage = args[3], args[5]
        if way is Way.COUNTED:  # the rest of the file is lost
            damage.complaints += 1
            return
        for picture in real(*args):
            yield picture
            if picture.pts >= 39 * picture_step(path):
                raise GoSlower(Way.COUNTED)

    monkeypatch.setattr(decoding, "_pictures", breaking_off)
    with Video(path) as video:
        pts = video._index.frame_pts
        object.__setattr__(video._index, "frame_pts", np.append(pts[:-1], pts[-1] + 1))
        frames = [read_number(f) for f in video.frames(range(40))]
        object.__setattr__(video._index, "frame_pts", pts)
        assert frames == [*range(39), 38]
        assert video.warning is not None and "1 of 40 sampled frames" in video.warning


def picture_step(path: Path) -> int:
    with Video(path) as video:
        return int(np.diff(video._index.frame_pts)[0])


def test_what_is_kept_is_bounded_and_the_oldest_goes() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    recent: Recent[int] = Recent(2)
    for number in (1, 2, 1, 3, 1, 2):
        assert recent.get(number, lambda number=number: make(number)) == number  # type: ignore[misc]
    assert made == [1, 2, 3, 2]


def test_an_error_is_not_kept_and_no_lock_is_held_while_making() -> None:
    recent: Recent[int] = Recent(2)
    with pytest.raises(ZeroDivisionError):
        recent.get("a", lambda: 1 // 0)
    inner = threading.Thread(target=lambda: recent.get("b", lambda: 2))

    def make() -> int:
        inner.start()
        inner.join(10)
        return 1

    assert recent.get("a", make) == 1 and not inner.is_alive()


@pytest.mark.parametrize("place", [-1, -(1 << 62), 1 << 63])
def test_a_place_outside_every_file_is_an_answer_and_no_exception(path: Path, place: int) -> None:
    """Damaged files point there; PyAV would print the traceback of an exception."""
    with open_file(path) as file:
        cursor = Cursor(file)
        assert cursor.read(4) == path.read_bytes()[:4]
        assert cursor.seek(place) < 0
        assert cursor.read(4) == path.read_bytes()[4:8]
