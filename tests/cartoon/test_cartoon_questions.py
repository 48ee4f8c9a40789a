"""Conversations about cartoon videos: every answer is read back and compared with the facts."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from functools import cache

import numpy as np
import pytest

from apollo.cartoon.talk.multiple_choice import OPTION_KINDS
from apollo.cartoon.talk.phrases import ENGLISH, PHRASES
from apollo.cartoon.talk.questions import KINDS, all_texts, conversation
from apollo.cartoon.talk.scene_questions import OPPOSITE
from apollo.cartoon.world import facts
from apollo.cartoon.world.scenes import Cartoon, Scene, video_from_seed
from apollo.data.choices import LETTERS, letter_of
from examples.nano.judge import is_right

CALLED, IN_CHINESE = ENGLISH.called, PHRASES["zh"].called
NUMBERS = {word: int(number) for number, word in CALLED["number"].items()}
NOUNS = {form: name for name in facts.OBJECTS for form in CALLED["object"][name]}


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
        singular, plural = CALLED["object"][NOUNS[name]]
        assert name == (singular if count == 1 else plural), answer
        found.append((count, colour, NOUNS[name]))
    return found


def truth(scene: Scene) -> list[tuple[int, str | None, str]]:
    main = [(scene.count, scene.colour, scene.object)]
    return main + ([(1, None, scene.second_object)] if scene.second_object else [])


def scenes_named(question: str, video: Cartoon) -> list[Scene]:
    """Scenes whose main object the question names, by whole words."""
    names = {s.object: CALLED["object"][s.object] for s in video.scenes}
    return [
        s for s in video.scenes
        if any(re.search(rf"\b{name}\b", question.lower()) for name in names[s.object])
    ]  # fmt: skip


def the_scene(question: str, video: Cartoon) -> Scene:
    named = scenes_named(question, video)
    assert len(named) == 1 or (not named and len(video.scenes) == 1), question
    return named[0] if named else video.scenes[0]


def check_scene_fact(kind: str, question: str, answer: str, video: Cartoon) -> None:
    scene = the_scene(question, video)
    if kind == "count":
        assert NUMBERS[answer.lower().rstrip(".")] == scene.count
    elif kind == "motion":
        one, several = CALLED["verb"][scene.motion]
        assert answer == (f"It {one}." if scene.count == 1 else f"They {several}.")
    elif kind == "background":
        assert answer == f"The background is {CALLED['background'][scene.background]}."
    elif kind == "colour":
        assert answer.lower().rstrip(".") == scene.colour
    elif kind == "position":
        assert scene.position is not None
        assert answer.lower().rstrip(".") == CALLED["position"][scene.position]
    elif scene.second_object is None:
        assert answer == "Nothing else."
    else:
        assert noun_phrases(answer) == [(1, None, scene.second_object)]


def check_word(question: str, answer: str, video: Cartoon) -> None:
    named = scenes_named(question, video)
    words = [s.word for s in (named or video.scenes) if s.word]
    assert re.findall(r'"([A-Z]+)"', answer) == words
    assert bool(words) == (answer != "There is no text.")


def check_order(kind: str, question: str, answer: str, video: Cartoon) -> None:
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
            assert answer == "Nothing."
            return
        wanted = truth(shown[0])
    else:
        wanted = truth(scenes[0 if kind in ("first", "object") else -1])
    assert noun_phrases(answer) == wanted


def check_when(question: str, answer: str, video: Cartoon) -> None:
    word = re.findall(r'"([A-Za-z]+)"', question)
    start, end = (float(n) for n in re.findall(r"\d+", answer))
    for start_s, end_s, scene in video.seen_spans():
        if scene.word == word[0] if word else scene == the_scene(question, video):
            assert (start, end) == (start_s, end_s)
            return
    raise AssertionError(question)


def bare(question: str) -> str:
    return question.lower().rstrip("?.!")


def check_yes_no(question: str, answer: str, video: Cartoon) -> None:
    asked, said = bare(question), re.fullmatch(r"(?:(.+), so )?(yes|no)\.", answer, re.IGNORECASE)
    assert said, answer
    told, yes = said[1], said[2].lower() == "yes"
    plain = False  # whether "Yes." or "No." is all there is to say
    relation = next((p for p in CALLED["relation"].values() if f" {p} the " in asked), None)
    name = {phrase: name for name, phrase in CALLED["relation"].items()}.get(relation or "")
    if '"' in asked:
        word, plain = asked.split('"')[1].upper(), True
        assert yes == any(s.word == word for s in video.scenes)
    elif name:
        plain = True
        parts = asked.replace(" is ", " ").split(f" {relation} ")
        left, right = (NOUNS[re.findall("[a-z]+", part)[-1]] for part in parts)
        pairs = {(s.object, s.relation, s.second_object) for s in video.scenes if s.relation}
        assert yes == ((left, name, right) in pairs or (right, OPPOSITE[name], left) in pairs)
    elif " before " in asked:
        left, right = (NOUNS[re.findall("[a-z]+", part)[-1]] for part in
                       re.sub("(come|shown|appear) ", "", asked).split(" before "))  # fmt: skip
        order = [s.object for s in video.scenes]
        assert yes == (order.index(left) < order.index(right))
        starts_s = {s.object: start_s for start_s, _, s in video.seen_spans()}
        assert [float(n) for n in re.findall(r"\d+", told)] == [starts_s[left], starts_s[right]]
        assert [the_scene(part, video).object for part in told.split(", ")] == [left, right]
    elif "background" in asked or "behind" in asked:
        scene = the_scene(asked, video)
        wanted = CALLED["background"][scene.background]
        assert yes == bool(re.search(rf"\b{wanted}\b", asked.replace(scene.colour or "#", "#", 1)
                                     if scene.colour else asked))  # fmt: skip
        assert told == f"The background is {wanted}"
    elif "text" in asked or "a word" in asked:
        plain = True
        assert yes == any(s.word for s in video.scenes)
    elif motions := [m for m in facts.MOTIONS if any(v in asked for v in CALLED["verb"][m])]:
        scene = the_scene(asked, video)
        assert yes == (scene.motion == motions[0])
        one, several = CALLED["verb"][scene.motion]
        assert told == (f"It {one}" if scene.count == 1 else f"They {several}")
    elif counts := [n for word, n in NUMBERS.items() if n > 1 and re.search(rf"\b{word}\b", asked)]:
        assert yes == (the_scene(asked, video).count == counts[0])
        assert NUMBERS[told.lower()] == the_scene(asked, video).count
    elif re.match("(is the |is it true|is [a-z]+ the colour)", asked):
        scene = the_scene(asked, video)
        assert yes == (scene.colour in asked.split())
        assert told.lower() == scene.colour
    else:
        tail = re.sub(r"^(is there|do you see|can you see|are there any|does) ", "", asked)
        tail = re.sub(r"( in the video| appear)$", "", tail)
        tail = re.sub(r"^(a|an) ", "", tail)
        colour = next((c for c in facts.COLOURS if tail.startswith(c + " ")), None)
        thing = NOUNS[tail.removeprefix(f"{colour} ")]
        shown = [(c, n) for s in video.scenes for _, c, n in truth(s)]
        plain = True
        assert yes == ((colour, thing) in shown)
    assert plain == (told is None)


def check_relation(question: str, answer: str, video: Cartoon) -> None:
    asked = bare(question)
    named = {s.object: s for s in video.scenes if s.relation}
    named |= {s.second_object: s for s in video.scenes if s.second_object}
    (scene,) = {s for n, s in named.items() if re.search(rf"\b{n}\b", asked)}
    assert scene.relation and scene.second_object
    if answer.startswith(("To the", "Above the", "Below the")):
        wanted = f"{CALLED['relation'][scene.relation]} the {scene.second_object}"
        assert answer.lower().rstrip(".") == wanted
        return
    ((_, colour, given),) = noun_phrases(answer)
    if given == scene.object:
        assert colour == scene.colour
        where = scene.relation
        assert where == "follows" or CALLED["relation"][where] in asked
    else:
        assert given == scene.second_object
        where = scene.relation
        assert where == "follows" or CALLED["relation"][OPPOSITE[where]] in asked


def check_passing(question: str, answer: str, video: Cartoon) -> None:
    scene = the_scene(question, video)
    ((start_s, end_s),) = [(a, b) for a, b, s in video.seen_spans() if s == scene]
    enters = scene.motion in facts.ENTER_MOTIONS
    assert enters or scene.motion in facts.LEAVE_MOTIONS
    if "seconds" in answer:
        assert answer == f"At {start_s if enters else end_s:g} seconds."
    else:
        side = scene.motion.removeprefix("enter ").removeprefix("leave ")
        assert answer == f"{'From' if enters else 'To'} the {side}."


def check_not_shown(question: str, answer: str, video: Cartoon) -> None:
    match = re.fullmatch(r"There is no ([a-z ]+) in the video\.", answer)
    assert match
    *colour, name = match[1].split()
    shown = {(c, n) for s in video.scenes for _, c, n in truth(s)}
    assert (colour[0] if colour else None, name) not in shown
    assert match[1] in bare(question) or CALLED["object"][name][1] in bare(question)


@cache
def answers_of(video: Cartoon) -> dict[str, set[str]]:
    """The answers to many questions about a video."""
    found: dict[str, set[str]] = {}
    rng = np.random.default_rng(0)
    for kind in OPTION_KINDS:
        for _ in range(16):
            for turn in conversation(rng, video, turns=3, kinds=[kind]):
                found.setdefault(bare(turn.question), set()).add(turn.answer)
    return found


def check_choice(question: str, answer: str, video: Cartoon) -> None:
    """Exactly one option is right, which is found by asking the same again without options."""
    asked, *options = question.split("\n")[:-1]
    assert [o[:3] for o in options] == [f"{letter}. " for letter in LETTERS[: len(options)]]
    texts = [option[3:] for option in options]
    letter = letter_of(answer, texts)
    assert letter and answer == f"{texts[LETTERS.index(letter)]} ({letter})"
    assert 3 <= len(texts) <= 5 and len(set(texts)) == len(texts)
    right = {text.rstrip(".") for text in answers_of(video).get(bare(asked), ())}
    if right:  # many wordings: some are not drawn again
        assert right & set(texts) == {texts[LETTERS.index(letter)]}


def check(kind: str, question: str, answer: str, video: Cartoon) -> None:
    if kind in ("count", "motion", "background", "colour", "position", "second_object"):
        check_scene_fact(kind, question, answer, video)
    elif kind == "word":
        check_word(question, answer, video)
    elif kind in ("object", "first", "last", "next", "before", "list", "at"):
        check_order(kind, question, answer, video)
    elif kind == "when":
        check_when(question, answer, video)
    elif kind in ("yesno", "relation", "passing", "not_shown", "choice"):
        more = (check_yes_no, check_relation, check_passing, check_not_shown, check_choice)
        {f.__name__.removeprefix("check_").replace("yes_no", "yesno"): f for f in more}[kind](
            question, answer, video
        )
    elif kind == "duration":
        assert answer == f"{video.duration_s:g} seconds."
    elif kind == "num_scenes":
        number = len(video.scenes)
        assert NUMBERS[answer.split()[0].lower()] == number
        assert answer.endswith("scene." if number == 1 else "scenes.")
    elif kind == "describe":
        check_describe(answer, video)
    elif kind == "chat":
        assert answer in {chat["answer"] for chat in ENGLISH.chat}
    else:
        assert (kind, answer) == ("unknown", "I can't tell from the video.")


def check_describe(answer: str, video: Cartoon) -> None:
    sentences = answer.rstrip(".").split(". ")
    assert len(sentences) == len(video.scenes)
    for text, scene in zip(sentences, video.scenes, strict=True):
        text = re.sub("^(First|Then|Finally), ", "", text)
        who, rest = text.split(f" {CALLED['verb'][scene.motion][scene.count > 1]} ", 1)
        assert noun_phrases(who) == truth(scene)[:1]
        assert CALLED["where"][scene.background] in rest
        assert re.findall('"(.*)"', rest) == ([scene.word] if scene.word else [])
        beside = re.findall(f"^{CALLED['relation'].get(scene.relation, '-')} (an? [a-z]+)", rest)
        assert [n for b in beside for n in noun_phrases(b)] == truth(scene)[1:]


SLOW_KINDS = {"choice": pytest.mark.slow}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=SLOW_KINDS.get(kind, ())) for kind in KINDS]
)
def test_every_answer_agrees_with_the_facts(kind: str) -> None:
    asked = 0
    # one turn each: a second question of the same kind is looked for long, and rarely there
    num_seeds, turns = (24, 3) if kind == "choice" else (480, 1)
    for seed in range(num_seeds):
        split = "held-out" if seed % 2 else "train"
        video = video_from_seed(seed, split=split, num_scenes=1 + seed % 4)
        talk = conversation(np.random.default_rng(seed), video, turns=turns, kinds=[kind])
        for question, answer, got, *_ in talk:
            assert got == kind
            check(kind, question, answer, video)
            assert "{" not in question and "}" not in question
            asked += 1
    assert asked >= (20 if kind in ("relation", "choice") else 40)


def test_yes_and_no_are_equally_right() -> None:
    answers: dict[str, Counter[bool]] = {"single": Counter(), "several": Counter()}
    for seed in range(1500):
        video = video_from_seed(seed)
        which = "single" if len(video.scenes) == 1 else "several"
        rng = np.random.default_rng(seed)
        for _, answer, *_ in conversation(rng, video, turns=2, kinds=["yesno"]):
            answers[which]["yes" in answer.lower()] += 1
    for counter in answers.values():
        assert 0.45 < counter[True] / sum(counter.values()) < 0.55


def test_a_conversation_does_not_repeat_itself_and_is_reproducible() -> None:
    for seed in range(100):
        video = video_from_seed(seed)
        talk = conversation(np.random.default_rng(seed), video, turns=8)
        assert talk == conversation(np.random.default_rng(seed), video, turns=8)
        assert len(talk) == 8
        questions = [question.lower().rstrip("?.!") for question, *_ in talk]
        assert len(set(questions)) == len(questions)


@pytest.mark.slow
def test_a_question_has_one_answer_in_a_video() -> None:
    """Wordings of different kinds never collide, so an exact match means something."""
    for seed in range(150):
        video = video_from_seed(seed, num_scenes=1 + seed % 4)
        rng, answers = np.random.default_rng(seed), {}
        kinds = [kind for kind in KINDS if kind not in ("chat", "choice")]
        for _ in range(12):
            for question, answer, *_ in conversation(rng, video, turns=12, kinds=kinds):
                key = question.lower().rstrip("?.!")
                assert answers.setdefault(key, answer) == answer, question


def test_many_wordings_one_answer() -> None:
    video = Cartoon((Scene("cat", None, 1, "left", "blue", None, None, None, 2.0, 0),))
    rng = np.random.default_rng(0)
    talks = [conversation(rng, video, turns=1, kinds=["motion"])[0] for _ in range(200)]
    assert len({talk.question for talk in talks}) >= 10
    assert {talk.answer for talk in talks} == {"It moves to the left."}


def test_a_kind_that_does_not_apply_is_not_asked() -> None:
    video = Cartoon((Scene("cat", None, 2, "left", "blue", None, None, None, 2.0, 0),))
    kinds = ["colour", "position", "second_object", "next", "first", "list", "relation", "passing"]
    assert conversation(np.random.default_rng(0), video, turns=3, kinds=kinds) == []


@cache
def tokenizer_words() -> set[str]:
    return words_of(" ".join(all_texts()))


@pytest.mark.slow
def test_the_tokenizer_text_has_every_word_that_is_ever_said() -> None:
    for seed in range(10_000, 10_150):
        video = video_from_seed(seed, split="held-out")
        for question, answer, *_ in conversation(np.random.default_rng(seed), video, turns=6):
            assert words_of(f"{question} {answer}") <= tokenizer_words()


# --- wordings, languages and follow-ups


@pytest.mark.parametrize("language", PHRASES)
def test_held_out_wordings_are_new_to_training(language: str) -> None:
    say = PHRASES[language]
    assert set(say.questions) == set(ENGLISH.questions)
    for key, wordings in say.questions.items():
        train, held_out = wordings["train"], wordings["held-out"]
        assert len(set(train)) == len(train) >= 3, key
        assert held_out and not set(held_out) & set(train), key
    for chat in say.chat:
        assert chat["held-out"] and not set(chat["held-out"]) & set(chat["train"])


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z']+|\d+|[\u4e00-\u9fff]", text))


@pytest.mark.slow
def test_held_out_wordings_use_no_new_words() -> None:
    known = {word.lower() for word in tokenizer_words()}
    for seed in range(200):
        video = video_from_seed(seed, split="held-out")
        for language in ("en", "zh"):
            rng = np.random.default_rng(seed)
            for turn in conversation(
                rng, video, turns=6, language=language, wordings="held-out", follow_ups=True
            ):
                assert {w.lower() for w in words_of(f"{turn.question} {turn.answer}")} <= known, (
                    turn
                )


def test_chinese_is_chinese_and_says_the_same_as_english() -> None:
    """The same random picks give the same questions: yes stays yes, a time stays a time."""
    for seed in range(300):
        video = video_from_seed(seed)
        for turn in conversation(np.random.default_rng(seed), video, turns=6, language="zh"):
            text = turn.question + turn.answer
            for word in (*facts.WORDS, "Apollo nano"):
                text = text.replace(word, "")
            if turn.kind != "choice":
                assert not re.search("[A-Za-z{}]", text), turn
                assert turn.answer[-1] in "。！", turn
            if turn.kind == "describe":
                for scene in video.scenes:
                    assert IN_CHINESE["object"][scene.object][0] in turn.answer
                    assert IN_CHINESE["verb"][scene.motion][0] in turn.answer
                    assert IN_CHINESE["where"][scene.background] in turn.answer
            if turn.kind == "duration":
                assert turn.answer == f"{video.duration_s:g}秒。"


def test_a_follow_up_is_about_what_was_named_last() -> None:
    """ "And the background?" after "What comes after the cat?" "A dog." is about the dog."""
    marks = {question.lower() for key, wordings in ENGLISH.questions.items()
             if key.endswith(" it") for question in wordings["train"] if "{" not in question
             }  # fmt: skip
    seen = 0
    for seed in range(400):
        video = video_from_seed(seed, num_scenes=3)
        rng = np.random.default_rng(seed)
        talk = conversation(rng, video, turns=6, follow_ups=True, kinds=("next", "when", "first"))
        for before, turn in itertools.pairwise(talk):
            asked = bare(turn.question)
            if turn.kind != "background" or f"{asked}?" not in marks:
                continue
            place = "answer" if before.kind in ("next", "before", "first") else "question"
            named = scenes_named(getattr(before, place), video)
            if place == "question" and not named:
                continue  # itself a follow-up
            (scene,) = named
            wanted = CALLED["background"][scene.background]
            assert turn.answer == f"The background is {wanted}."
            seen += 1
    assert seen > 20


def test_letters_are_equally_often_right() -> None:
    letters: Counter[str] = Counter()
    for seed in range(1200):
        rng, video = np.random.default_rng(seed), video_from_seed(seed)
        for turn in conversation(rng, video, turns=1, kinds=["choice"]):
            letters[turn.answer[-2]] += 1
    total = sum(letters.values())
    assert total > 1000
    assert all(0.2 < letters[letter] / total < 0.32 for letter in "ABC")


def test_times_may_be_a_second_off_and_words_may_not() -> None:
    assert is_right("when", "From 2 to 4 seconds.", "from 2.9 to 4 seconds")
    assert not is_right("when", "From 2 to 4 seconds.", "From 2 to 6 seconds.")
    assert not is_right("when", "From 2 to 4 seconds.", "From 2 seconds.")
    assert is_right("passing", "At 4 seconds.", "At 5 seconds.")
    assert not is_right("passing", "From the left.", "From the right.")
    assert is_right("object", "A red circle.", "a red circle")
    assert not is_right("count", "Two.", "Three.") and not is_right("at", "A cat.", "A cat, a dog.")
    assert is_right("object", "一只猫。", "一只猫") and not is_right(
        "object", "一只猫。", "一只狗。"
    )
