"""Every codec in every container that can be written here: each frame is the one asked for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from codec_matrix import CODECS, CONTAINERS, write
from make_videos import read_number

from apollo.errors import VideoError
from apollo.video.clips import plan_clips
from apollo.video.reader import Video

FRAMES = 60
FPS = 30
# Transport and program streams, and recordings of Windows TV, have no name for these codecs.
NAMELESS = {"ts", "m2ts", "mpg", "vob", "wtv"}
# FFmpeg's writer loses the codec's header here; FFmpeg itself reads grey from these files.
WRITTEN_WRONG = {("wmv2", "wtv"), ("huffyuv", "wtv")}
WITHOUT_A_RATE = {"mjpeg", "obu"}  # raw streams: 25 frames a second are assumed


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_is_the_one_asked_for(codec: str, tmp_path: Path) -> None:
    """Rows 31, 32 and 33: whole, sparse, and with a range, at the times of a player."""
    order = random.Random(codec)
    read = 0
    for container in CONTAINERS:
        path = write(tmp_path, codec, container, FRAMES)
        if path is None or (codec, container) in WRITTEN_WRONG:
            continue
        try:
            with Video(path) as video:
                whole = [read_number(frame) for frame in video.frames(range(len(video)))]
        except VideoError as error:
            assert container in NAMELESS, f"{container}: {error}"
            continue
        read += 1
        assert whole == list(range(FRAMES)), container
        for count in (1, 2, 4):
            ids = sorted(order.sample(range(FRAMES), count))
            with Video(path) as video:
                assert [read_number(frame) for frame in video.frames(ids)] == ids, container
        if container in WITHOUT_A_RATE:
            assert video.warning is not None and "25 frames a second are assumed" in video.warning
            continue
        info = video.info
        assert video.warning is None, container
        assert all(abs(info.time_of(i) - i / FPS) < 0.5 / FPS for i in range(FRAMES)), container
        (clip,) = plan_clips(info, clip_duration_s=0.5, start_s=1.0, end_s=1.5)
        assert clip.frame_ids[0] >= 30 and clip.frame_ids[-1] < 45, container
    assert read >= 2
