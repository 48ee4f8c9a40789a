"""The demo's example videos: `python -m examples.nano.make_example_videos apollo/demo/assets`."""

from __future__ import annotations

import argparse
from pathlib import Path

from apollo.cartoon.draw.video_file import write_video
from apollo.cartoon.world.scenes import Cartoon, Scene

SIZE_PX, FPS, SCENE_DURATION_S = 480, 24, 4.0


def _scene(
    name: str,
    motion: str,
    background: str,
    look_seed: int,
    *,
    colour: str | None = None,
    position: str | None = None,
    word: str | None = None,
) -> Scene:
    return Scene(
        name, colour, 1, motion, background, position, word, None, SCENE_DURATION_S, look_seed
    )


EXAMPLES: dict[str, Cartoon] = {
    "example_1.mp4": Cartoon((_scene("rocket", "up", "night sky", 7, word="DREAM"),)),
    "example_2.mp4": Cartoon(
        (_scene("snowman", "spin", "blue", 3), _scene("butterfly", "up", "grass", 13))
    ),
    "example_3.mp4": Cartoon(
        (_scene("star", "spin", "purple", 7, colour="yellow", position="middle"),)
    ),
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    for name, video in EXAMPLES.items():
        write_video(video, folder / name, size_px=SIZE_PX, fps=FPS)


if __name__ == "__main__":
    main()
