"""Facts as simple Chinese: the same functions as `phrases`, so that askers can use either.

In:  a Scene or a Video.  Out: text. Each fact has exactly one wording.
"""

from __future__ import annotations

from apollo.cartoon.world.facts import (
    BACKGROUND_BY_NAME,
    COLOUR_ZH,
    MOTION_BY_NAME,
    OBJECT_BY_NAME,
    POSITION_ZH,
    RELATION_ZH,
)
from apollo.cartoon.world.scenes import Scene, Video

UNKNOWN = "从视频里看不出来。"
YES, NO = "是的。", "不是。"
IS_THERE, IS_NOT_THERE = "有。", "没有。"
NO_TEXT = "没有文字。"
NOTHING_ELSE = "没有别的。"
EMPTY = "什么也没有。"
NOTHING_BEFORE = "没有，那是开头。"
NOTHING_AFTER = "没有，那是结尾。"
NUMBERS = {1: "一", 2: "两", 3: "三", 4: "四", 5: "五"}  # before a measure word
SIDES = {"left": "左边", "right": "右边"}


def noun(name: str, colour: str | None = None) -> str:
    """猫, 红色圆形."""
    zh = OBJECT_BY_NAME[name].zh
    return f"{COLOUR_ZH[colour]}色{zh}" if colour else zh


def a_noun(name: str, colour: str | None = None, count: int = 1) -> str:
    """一只猫, 三个红色圆形."""
    return f"{NUMBERS[count]}{OBJECT_BY_NAME[name].zh_measure}{noun(name, colour)}"


def main_noun(scene: Scene) -> str:
    return noun(scene.object, scene.colour)


def the(name: str, colour: str | None = None, count: int = 1) -> str:
    return noun(name, colour)


def who(scene: Scene) -> str:
    main = a_noun(scene.object, scene.colour, scene.count)
    return f"{main}和{a_noun(scene.second_object)}" if scene.second_object else main


def clause(scene: Scene) -> str:
    """一只猫在蓝色背景上向左移动，在一只蜜蜂的上面，文字是“LUCKY”."""
    beside = ""
    if scene.second_object and scene.relation == "follows":
        beside = f"，跟着{a_noun(scene.second_object)}"
    elif scene.second_object and scene.relation:
        beside = f"，在{a_noun(scene.second_object)}的{RELATION_ZH[scene.relation]}"
    text = f"，文字是“{scene.word}”" if scene.word else ""
    main = a_noun(scene.object, scene.colour, scene.count)
    where = BACKGROUND_BY_NAME[scene.background].zh_where
    return f"{main}{where}{MOTION_BY_NAME[scene.motion].zh}{beside}{text}"


def object_answer(scene: Scene) -> str:
    return f"{who(scene)}。"


def thing_answer(name: str, colour: str | None = None) -> str:
    return f"{a_noun(name, colour)}。"


def count_answer(scene: Scene) -> str:
    return f"{NUMBERS[scene.count]}{OBJECT_BY_NAME[scene.object].zh_measure}。"


def motion_answer(scene: Scene) -> str:
    return f"{'它' if scene.count == 1 else '它们'}{MOTION_BY_NAME[scene.motion].zh}。"


def background_answer(scene: Scene) -> str:
    return f"背景是{background_name(scene.background)}。"


def colour_answer(scene: Scene) -> str:
    assert scene.colour is not None
    return f"{COLOUR_ZH[scene.colour]}色。"


def position_answer(scene: Scene) -> str:
    assert scene.position is not None
    return f"在{POSITION_ZH[scene.position]}。"


def relation_answer(scene: Scene) -> str:
    assert scene.relation is not None and scene.second_object is not None
    return f"在{noun(scene.second_object)}的{RELATION_ZH[scene.relation]}。"


def side_answer(scene: Scene) -> str:
    return f"从{SIDES[scene.motion.split()[1]]}。"


def not_shown_answer(name: str, colour: str | None) -> str:
    return f"视频里没有{noun(name, colour)}。"


def second_answer(scene: Scene) -> str:
    return thing_answer(scene.second_object) if scene.second_object else NOTHING_ELSE


def word_answer(scene: Scene) -> str:
    return f"文字是“{scene.word}”。" if scene.word else NO_TEXT


def words_answer(video: Video) -> str:
    words = [f"“{scene.word}”" for scene in video.scenes if scene.word]
    return f"文字是{'，然后是'.join(words)}。" if words else NO_TEXT


def so(answer: str, yes: bool) -> str:
    """背景是红色，所以不是。"""
    return f"{answer.rstrip('。')}，所以{'是的' if yes else '不是'}。"


def order_answer(first: Scene, first_s: float, other: Scene, other_s: float) -> str:
    """猫在0秒出现，狗在6秒出现。"""
    names = [noun(scene.object, scene.colour) for scene in (first, other)]
    return f"{names[0]}在{first_s:g}秒出现，{names[1]}在{other_s:g}秒出现。"


def list_answer(video: Video) -> str:
    return "，然后是".join(who(scene) for scene in video.scenes) + "。"


def span_answer(start_s: float, end_s: float) -> str:
    return f"从{start_s:g}秒到{end_s:g}秒。"


def moment_answer(t_s: float) -> str:
    return f"第{t_s:g}秒。"


def duration_answer(video: Video) -> str:
    return f"{video.duration_s:g}秒。"


def num_scenes_answer(video: Video) -> str:
    return f"{NUMBERS[len(video.scenes)]}个场景。"


def describe_answer(video: Video) -> str:
    clauses = [clause(scene) for scene in video.scenes]
    if len(clauses) == 1:
        return f"{clauses[0]}。"
    starts = ["首先", *["然后"] * (len(clauses) - 2), "最后"]
    return "".join(f"{start}，{text}。" for start, text in zip(starts, clauses, strict=True))


def background_name(name: str) -> str:
    return BACKGROUND_BY_NAME[name].zh_is


def relation_phrase(relation: str) -> str:
    return RELATION_ZH[relation]


def number(count: int) -> str:
    return NUMBERS[count]


def motion_words(motion: str, count: int) -> dict[str, str]:
    return {"verb": MOTION_BY_NAME[motion].zh}


def names(name: str, colour: str | None = None, count: int = 1) -> dict[str, str]:
    """What a wording about an object is filled with."""
    return {
        "a": a_noun(name, colour),
        "the": noun(name, colour),
        "it": "它" if count == 1 else "它们",
        "measure": OBJECT_BY_NAME[name].zh_measure,
        "shape_name": noun(name),
        "colour": COLOUR_ZH[colour] if colour else "",
    }
