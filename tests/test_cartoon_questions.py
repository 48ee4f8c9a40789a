"""Conversations about cartoon videos: every answer is read back and compared with the facts."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from apollo.train.cartoon import facts, phrases
from apollo.train.cartoon.questions import KINDS, all_texts, conversation
from apollo.train.cartoon.templates import CHAT
from apollo.train.cartoon.world import Scene, Video, video_from_seed

NUMBERS = {word: number for number, word in facts.COUNTS.items()}
NOUNS = {n: t.singular for t in facts.OBJECTS for n in (t.singular, t.plural)}


def noun_phrases(answer: str) -> list[tuple[int, str | None, str]]:
    """(count, colour, object) of "A cat and a bee, then two red circles."."""
    found = []
    for part in re.split(r", then | and ", answer.lower().rstrip(".")):
        first, *rest = part.split(" ")
        colour = rest[0] if rest[0] in facts.COLOURS else None
        name = " ".join(rest[1:] if colour else rest)
        count = NUMBERS.get(first, 1)
        assert first in (*NUMBERS, "a", "an"), answer
        if count == 1:
            assert (first == "an") == (rest[0][0] in "aeiou"), answer
        thing = facts.OBJECT_BY_NAME[NOUNS[name]]
        assert name == (thing.singular if count == 1 else thing.plural), answer
        found.append((count, colour, thing.singular))
    return found


def truth(scene: Scene) -> list[tuple[int, str | None, str]]:
    main = [(scene.count, scene.colour, scene.object)]
    return main + ([(1, None, scene.second_object)] if scene.second_object else [])


def scenes_named(question: str, video: Video) -> list[Scene]:
    """Scenes whose main object the question names, by whole words."""
    names = {s.object: (s.object, facts.OBJECT_BY_NAME[s.object].plural) for s in video.scenes}
    return [
        s for s in video.scenes
        if any(re.search(rf"\b{name}\b", question.lower()) for name in names[s.object])
    ]  # fmt: skip


def the_scene(question: str, video: Video) -> Scene:
    named = scenes_named(question, video)
    assert len(named) == 1 or (not named and len(video.scenes) == 1), question
    return named[0] if named else video.scenes[0]


def check_scene_fact(kind: str, question: str, answer: str, video: Video) -> None:
    scene = the_scene(question, video)
    if kind == "count":
        assert NUMBERS[answer.lower().rstrip(".")] == scene.count
    elif kind == "motion":
        motion = facts.MOTION_BY_NAME[scene.motion]
        one = scene.count == 1
        assert answer == (f"It {motion.singular}." if one else f"They {motion.plural}.")
    elif kind == "background":
        name = facts.BACKGROUND_BY_NAME[scene.background].is_phrase
        assert answer == f"The background is {name}."
    elif kind == "colour":
        assert answer.lower().rstrip(".") == scene.colour
    elif kind == "position":
        assert scene.position is not None
        assert answer.lower().rstrip(".") == facts.POSITIONS[scene.position][2]
    elif scene.second_object is None:
        assert answer == phrases.NOTHING_ELSE
    else:
        assert noun_phrases(answer) == [(1, None, scene.second_object)]


def check_word(question: str, answer: str, video: Video) -> None:
    named = scenes_named(question, video)
    words = [s.word for s in (named or video.scenes) if s.word]
    assert re.findall(r'"([A-Z]+)"', answer) == words
    assert bool(words) == (answer != "There is no text.")


def check_order(kind: str, question: str, answer: str, video: Video) -> None:
    scenes = list(video.scenes)
    if kind in ("next", "before"):
        at = scenes.index(the_scene(question, video)) + (1 if kind == "next" else -1)
        if not 0 <= at < len(scenes):
            assert answer.startswith("Nothing, that is the")
            return
        wanted = truth(scenes[at])
    elif kind == "list":
        wanted = [thing for scene in scenes for thing in truth(scene)]
    elif kind == "at":
        second = int(re.findall(r"\d+", question)[0])
        shown = [s for a, b, s in video.seen_spans() if a < second < b]
        if not shown:
            assert answer == phrases.EMPTY
            return
        wanted = truth(shown[0])
    else:
        wanted = truth(scenes[0 if kind in ("first", "object") else -1])
    assert noun_phrases(answer) == wanted


def check_when(question: str, answer: str, video: Video) -> None:
    word = re.findall(r'"([A-Za-z]+)"', question)
    start, end = (float(n) for n in re.findall(r"\d+", answer))
    for start_s, end_s, scene in video.seen_spans():
        if scene.word == word[0] if word else scene == the_scene(question, video):
            assert (start, end) == (start_s, end_s)
            return
    raise AssertionError(question)


def check_yes_no(question: str, answer: str, video: Video) -> None:
    asked, yes = question.lower().rstrip("?.!"), answer == "Yes."
    assert answer in ("Yes.", "No.")
    if '"' in asked:
        word = asked.split('"')[1].upper()
        assert yes == any(s.word == word for s in video.scenes)
    elif "background" in asked:
        scene = the_scene(asked, video)
        wanted = facts.BACKGROUND_BY_NAME[scene.background].is_phrase
        assert yes == asked.removesuffix(" in the background").endswith(f" {wanted}")
    elif "text" in asked or "a word" in asked:
        assert yes == any(s.word for s in video.scenes)
    elif motions := [m for m in facts.MOTIONS if m.singular in asked or m.plural in asked]:
        assert yes == (the_scene(asked, video).motion == motions[0].name)
    else:
        tail = re.sub(r"^(is there|do you see|can you see|are there any|does) ", "", asked)
        tail = re.sub(r"( in the video| appear)$", "", tail)
        tail = re.sub(r"^(a|an) ", "", tail)
        colour = next((c for c in facts.COLOURS if tail.startswith(c + " ")), None)
        name = NOUNS[tail.removeprefix(f"{colour} ")]
        shown = [(c, n) for s in video.scenes for _, c, n in truth(s)]
        assert yes == ((colour, name) in shown)


def check(kind: str, question: str, answer: str, video: Video) -> None:
    if kind in ("count", "motion", "background", "colour", "position", "second_object"):
        check_scene_fact(kind, question, answer, video)
    elif kind == "word":
        check_word(question, answer, video)
    elif kind in ("object", "first", "last", "next", "before", "list", "at"):
        check_order(kind, question, answer, video)
    elif kind == "when":
        check_when(question, answer, video)
    elif kind == "yesno":
        check_yes_no(question, answer, video)
    elif kind == "duration":
        assert answer == f"{video.duration_s:g} seconds."
    elif kind == "num_scenes":
        number = len(video.scenes)
        assert NUMBERS[answer.split()[0].lower()] == number
        assert answer.endswith("scene." if number == 1 else "scenes.")
    elif kind == "describe":
        check_describe(answer, video)
    elif kind == "chat":
        assert answer in {text for _, text in CHAT}
    else:
        assert (kind, answer) == ("unknown", "I don't know.")


def check_describe(answer: str, video: Video) -> None:
    sentences = answer.rstrip(".").split(". ")
    assert len(sentences) == len(video.scenes)
    for text, scene in zip(sentences, video.scenes, strict=True):
        motion = facts.MOTION_BY_NAME[scene.motion]
        text = re.sub("^(First|Then|Finally), ", "", text)
        who, rest = text.split(f" {motion.singular if scene.count == 1 else motion.plural} ", 1)
        assert noun_phrases(who) == truth(scene)[:1]
        assert facts.BACKGROUND_BY_NAME[scene.background].where in rest
        assert re.findall('"(.*)"', rest) == ([scene.word] if scene.word else [])
        beside = re.findall(f"^{facts.RELATIONS.get(scene.relation or '', '-')} (an? [a-z]+)", rest)
        assert [n for b in beside for n in noun_phrases(b)] == truth(scene)[1:]


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_agrees_with_the_facts(kind: str) -> None:
    asked = 0
    for seed in range(240):
        split = "held-out" if seed % 2 else "train"
        video = video_from_seed(seed, split=split, num_scenes=1 + seed % 4)
        talk = conversation(np.random.default_rng(seed), video, turns=3, kinds=[kind])
        for question, answer, got in talk:
            assert got == kind
            check(kind, question, answer, video)
            assert "{" not in question and "}" not in question
            asked += 1
    assert asked >= 40


def test_yes_and_no_are_equally_right() -> None:
    answers: dict[str, Counter[str]] = {"single": Counter(), "several": Counter()}
    for seed in range(1500):
        video = video_from_seed(seed)
        which = "single" if len(video.scenes) == 1 else "several"
        rng = np.random.default_rng(seed)
        for _, answer, _ in conversation(rng, video, turns=2, kinds=["yesno"]):
            answers[which][answer] += 1
    for counter in answers.values():
        assert 0.45 < counter["Yes."] / sum(counter.values()) < 0.55


def test_a_conversation_does_not_repeat_itself_and_is_reproducible() -> None:
    for seed in range(100):
        video = video_from_seed(seed)
        talk = conversation(np.random.default_rng(seed), video, turns=8)
        assert talk == conversation(np.random.default_rng(seed), video, turns=8)
        assert len(talk) == 8
        questions = [question.lower().rstrip("?.!") for question, _, _ in talk]
        assert len(set(questions)) == len(questions)


def test_a_question_has_one_answer_in_a_video() -> None:
    """Wordings of different kinds never collide, so an exact match means something."""
    for seed in range(150):
        video = video_from_seed(seed, num_scenes=1 + seed % 4)
        rng, answers = np.random.default_rng(seed), {}
        kinds = [kind for kind in KINDS if kind != "chat"]
        for _ in range(12):
            for question, answer, _ in conversation(rng, video, turns=12, kinds=kinds):
                key = question.lower().rstrip("?.!")
                assert answers.setdefault(key, answer) == answer, question


def test_many_wordings_one_answer() -> None:
    video = Video((Scene("cat", None, 1, "left", "blue", None, None, None, 2.0, 0),))
    rng = np.random.default_rng(0)
    talks = [conversation(rng, video, turns=1, kinds=["motion"])[0] for _ in range(200)]
    assert len({question for question, _, _ in talks}) >= 10
    assert {answer for _, answer, _ in talks} == {"It moves to the left."}


def test_a_kind_that_does_not_apply_is_not_asked() -> None:
    video = Video((Scene("cat", None, 2, "left", "blue", None, None, None, 2.0, 0),))
    kinds = ["colour", "position", "second_object", "next", "first", "list"]
    assert conversation(np.random.default_rng(0), video, turns=3, kinds=kinds) == []


def test_the_tokenizer_text_has_every_word_that_is_ever_said() -> None:
    known = set(re.findall(r"[A-Za-z']+|\d+", " ".join(all_texts())))
    for seed in range(10_000, 10_150):
        video = video_from_seed(seed, split="held-out")
        for question, answer, _ in conversation(np.random.default_rng(seed), video, turns=6):
            assert set(re.findall(r"[A-Za-z']+|\d+", f"{question} {answer}")) <= known
