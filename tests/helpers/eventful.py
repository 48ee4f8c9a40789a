"""A still video of two minutes in which short things happen four times."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

FPS = 10
LENGTH_S = 120
EVENTS_S = [(13.0, 16.0), (47.0, 50.0), (61.0, 63.0), (98.0, 101.0)]
SIZE = (96, 128)  # height, width


def eventful(number: int) -> np.ndarray:
    """(H, W, 3): still but for the events, in which other pictures move."""
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    frame = np.stack([rows, columns, rows // 2 + columns // 2], -1).astype(np.uint8)
    for which, (start_s, end_s) in enumerate(EVENTS_S):
        if start_s * FPS <= number < end_s * FPS:
            frame = np.roll(frame, number, 1) // (which + 2) + 40 * which
            frame[30:60, 30 + which * 10 : 70] = 255 - 50 * which
    return frame.astype(np.uint8)


def write_eventful(path: Path, options: dict[str, str]) -> Path:
    """H.264, with these options of x264."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS, options={"preset": "veryfast", **options})
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(LENGTH_S * FPS):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(eventful(number), format="rgb24")))
        file.mux(stream.encode())
    return path
