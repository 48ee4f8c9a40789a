"""The demo's example videos: `python -m apollo.cartoon.make_examples apollo/demo/assets`."""

from __future__ import annotations

import argparse
from pathlib import Path

from apollo.cartoon.draw.video_file import write_video
from apollo.cartoon.talk import phrases_en, phrases_zh
from apollo.cartoon.world.scenes import Scene, Video

SIZE_PX, FPS = 480, 24


def _scene(name: str, motion: str, background: str, look_seed: int, **more: object) -> Scene:
    facts: dict[str, object] = {
        "colour": None,
        "count": 1,
        "position": None,
        "word": None,
        "second_object": None,
        "duration_s": 4.0,
    }
    return Scene(
        object=name,
        motion=motion,
        background=background,
        look_seed=look_seed,
        **{**facts, **more},  # type: ignore[arg-type]
    )


EXAMPLES: dict[str, Video] = {
    "example_1.mp4": Video((_scene("rocket", "up", "night sky", 7, word="DREAM"),)),
    "example_2.mp4": Video(
        (_scene("snowman", "spin", "blue", 3), _scene("butterfly", "up", "grass", 13))
    ),
    "example_3.mp4": Video(
        (_scene("star", "spin", "purple", 7, colour="yellow", position="middle"),)
    ),
}

_ROCKET, _PAIR, _STAR = (EXAMPLES[f"example_{number}.mp4"] for number in (1, 2, 3))
# (file, question) -> the right answer; the demo offers some of these
QUESTIONS: dict[tuple[str, str], str] = {
    ("example_1.mp4", "What happens in this video?"): phrases_en.describe_answer(_ROCKET),
    ("example_1.mp4", "What does the text say?"): phrases_en.word_answer(_ROCKET.scenes[0]),
    ("example_2.mp4", "What comes after the snowman?"): phrases_en.object_answer(_PAIR.scenes[1]),
    ("example_2.mp4", "When does the butterfly appear?"): phrases_en.span_answer(4, 8),
    ("example_3.mp4", "Tell me about the video."): phrases_en.describe_answer(_STAR),
    ("example_3.mp4", "视频里发生了什么？"): phrases_zh.describe_answer(_STAR),
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    for name, video in EXAMPLES.items():
        write_video(video, folder / name, size_px=SIZE_PX, fps=FPS)


if __name__ == "__main__":
    main()
