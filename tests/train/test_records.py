"""Training files: what is read, and that every wrong one is refused with file, line, remedy."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from asking import PICTURE, SHORT
from folders import sentence

from apollo.errors import DataError, SettingError
from apollo.train import records as records_module
from apollo.train.records import Record, check_lengths, read_records

ASK = {"role": "user", "content": "What happens?"}
SAY = {"role": "assistant", "content": "A ball rolls."}
RULE = {"role": "system", "content": "Be brief."}
GOOD: dict[str, Any] = {"id": "one", "video": "clip.mp4", "messages": [ASK, SAY]}
TEXT: dict[str, Any] = {"messages": [RULE, ASK, SAY, ASK, SAY]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(SHORT, tmp_path / "clip.mp4")  # 4 seconds
    shutil.copy(PICTURE, tmp_path / "still.png")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "broken.png").write_bytes(PICTURE.read_bytes()[:200])
    return tmp_path


def lines(folder: Path, *records: Any) -> Path:
    file = folder / "data.jsonl"
    file.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return file


def refused(file: Path, line: int | None, *words: str, **keywords: Any) -> str:
    with pytest.raises(DataError) as error:
        read_records(file, **keywords)
    text = sentence(error)
    where = f"{file}, line {line}: " if line else str(file)
    assert where in text, text
    for word in words:
        assert word in text, text
    return text


def without(key: str, **values: Any) -> dict[str, Any]:
    return {k: v for k, v in {**GOOD, **values}.items() if k != key}


def test_lines_and_a_list_say_the_same_but_for_the_line(folder: Path) -> None:
    image = {"image": "still.png", "messages": [ASK, SAY]}
    ranged = {**GOOD, "id": 7, "start_s": 1, "end_s": 2.5}
    wanted = [GOOD, image, TEXT, ranged]
    file = lines(folder, *wanted)
    file.write_text("\n" + file.read_text())
    first, second, third, fourth = found = read_records(file)
    assert first == Record(file, 2, "one", folder / "clip.mp4", False, (ASK, SAY))
    assert (second.media, second.is_image) == (folder / "still.png", True)
    assert (third.media, third.is_image, third.messages) == (None, False, tuple(TEXT["messages"]))
    assert (fourth.id, fourth.start_s, fourth.end_s) == ("7", 1.0, 2.5)
    assert [record.id for record in found] == ["one", "data-3", "data-4", "7"]
    assert first.where == f"{file}, line 2"

    listed = folder / "data.json"
    listed.write_text("\ufeff" + json.dumps(wanted, indent=2), encoding="utf-8")
    text = listed.read_text(encoding="utf-8").split("\n")
    again = read_records(listed)
    assert [record.messages for record in again] == [record.messages for record in found]
    assert [text[record.line - 1] for record in again] == ["  {"] * 4
    assert [record.line for record in again] == sorted({record.line for record in again})


def test_the_lines_of_a_dense_list_are_right(folder: Path) -> None:
    record = json.dumps(TEXT)
    file = folder / "data.json"
    file.write_text(f"[{record}, {record},\n{record}\n,\n\n {record}]\n")
    assert [record.line for record in read_records(file)] == [1, 1, 2, 5]


def test_an_absolute_path_is_taken_as_it_is(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = lines(tmp_path_factory.mktemp("elsewhere"), {**GOOD, "video": str(folder / "clip.mp4")})
    assert read_records(file)[0].media == folder / "clip.mp4"


def test_a_video_of_many_records_is_opened_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    probe = records_module.probe
    monkeypatch.setattr(records_module, "probe", lambda path: opened.append(path) or probe(path))
    assert len(read_records(lines(folder, GOOD, TEXT, {**GOOD, "start_s": 1}))) == 3
    assert opened == [folder / "clip.mp4"]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ([GOOD], "a record is an object in curly brackets"),
        ({**GOOD, "vidoe": 1}, 'unknown key "vidoe" (did you mean "video"?); the keys are id, vid'),
        ({**GOOD, "conversations": []}, 'unknown key "conversations"; the keys are'),
        ({**GOOD, "id": ["x"]}, '"id" must be a text'),
        ({**GOOD, "id": " "}, '"id" must be a text'),
        (without("messages"), '"messages" is missing or empty; list at least'),
        ({**GOOD, "messages": []}, '"messages" is missing or empty'),
        ({**GOOD, "messages": "hello"}, '"messages" is missing or empty'),
        ({**GOOD, "messages": ["hello"]}, "message 1 is no object; give it the keys"),
        (
            {**GOOD, "messages": [{"rol": "user", "content": "x"}, SAY]},
            'message 1: unknown key "rol" (did you mean "role"?); the keys are role, content',
        ),
        (
            {**GOOD, "messages": [ASK, {"role": "gpt", "content": "x"}]},
            'message 2 has the role "gpt"; the roles are system, user, assistant',
        ),
        ({**GOOD, "messages": [ASK, {"content": "x"}]}, "message 2 has the role null"),
        ({**GOOD, "messages": [ASK, {"role": "assistant"}]}, "message 2 has no text; write"),
        ({**GOOD, "messages": [{**ASK, "content": " \n"}, SAY]}, "message 1 has no text"),
        ({**GOOD, "messages": [{**ASK, "content": ["x"]}, SAY]}, "message 1 has no text"),
        (
            {**GOOD, "messages": [SAY, ASK, SAY]},
            "message 1 is from the assistant but has to be the user's",
        ),
        ({**GOOD, "messages": [ASK, SAY, SAY]}, "message 3 is from the assistant but has to be"),
        ({**GOOD, "messages": [ASK, RULE, SAY]}, "message 2 is from the system but has to be the"),
        ({**GOOD, "messages": [RULE, RULE, SAY]}, "message 2 is from the system but has to be the"),
        ({**GOOD, "messages": [ASK]}, "there is no answer of the assistant to learn from; add one"),
        ({**GOOD, "messages": [RULE]}, "there is no answer of the assistant"),
        ({**GOOD, "messages": [ASK, SAY, ASK]}, "ends with the user; end it with an answer"),
        ({**GOOD, "image": "still.png"}, 'both "video" and "image"; keep one'),
        ({**GOOD, "video": 3}, '"video" must be a path; write it as text'),
        ({**GOOD, "video": ""}, '"video" must be a path'),
        ({**GOOD, "video": "a\0b"}, '"video" must be a path'),
        ({**TEXT, "start_s": 1}, "but there is none; remove them"),
        ({**TEXT, "image": "still.png", "end_s": 1}, "but there is none; remove them"),
        ({**GOOD, "start_s": "1"}, '"start_s" must be a number of seconds, 0 or more'),
        ({**GOOD, "start_s": True}, '"start_s" must be a number of seconds'),
        ({**GOOD, "start_s": -1}, '"start_s" must be a number of seconds'),
        ({**GOOD, "end_s": float("nan")}, '"end_s" must be a number of seconds'),
        ({**GOOD, "end_s": 10**400}, '"end_s" must be a number of seconds'),
        ({**GOOD, "start_s": 2, "end_s": 2}, '"end_s" must lie after "start_s"; change one'),
        ({**GOOD, "end_s": 0}, '"end_s" must lie after "start_s"'),
        ({**GOOD, "start_s": 4}, 'is 4.0 s long, so it cannot be read from 4 s on; correct "start'),
        ({**GOOD, "start_s": 1, "end_s": 5.5}, "cannot be read from 1 to 5.5 s; correct"),
        ({**GOOD, "end_s": 9}, "cannot be read from 0 to 9 s; correct"),
    ],
)
def test_a_wrong_record_is_refused_under_both_policies(
    folder: Path, record: Any, words: str
) -> None:
    file = lines(folder, TEXT, record, TEXT)
    refused(file, 2, words)
    refused(file, 2, words, unreadable="skip")


def test_a_range_may_end_a_little_behind_the_video(folder: Path) -> None:
    (record,) = read_records(lines(folder, {**GOOD, "start_s": 3, "end_s": 5}))
    assert record.end_s == 5.0


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{"messages": }', 1, "broken JSON (Expecting value); correct it there"),
        ("GOOD\n\n{oops}\n", 3, "broken JSON"),
        ("GOOD GOOD", 1, "more text after the record; write one record per line"),
        ("[GOOD,\nGOOD\nGOOD]", 3, "a comma or the closing bracket of the list is missing"),
        ("[GOOD,\n", 2, "broken JSON"),
        ("[GOOD\n\n", 3, "a comma or the closing bracket of the list is missing"),
        ("[GOOD,\n{\n\n oops}]", 4, "broken JSON"),
        ("[GOOD\n]\n extra", 2, "more text after the list; remove it"),
        ("[GOOD,\n3]", 2, "a record is an object"),
        ("[" * 100_000, 1, "brackets nest too deep"),
        ('GOOD\n{"start_s": ' + "9" * 5000 + "}", 2, "a number has too many digits"),
        ('GOOD\n{"id": "\\ud83d"}', 2, "an escape such as \\ud83d is only half a sign"),
    ],
)
def test_broken_json_is_told_with_its_line(folder: Path, text: str, line: int, words: str) -> None:
    file = folder / "data"
    file.write_text(text.replace("GOOD", json.dumps(GOOD)))
    refused(file, line, words)


def test_whole_signs_written_as_escapes_are_fine(folder: Path) -> None:
    file = folder / "data.jsonl"
    message = {"role": "assistant", "content": "好 😀"}
    file.write_text(json.dumps({"messages": [ASK, message]}))
    assert "\\ud83d" in file.read_text()
    assert read_records(file)[0].messages[1] == message


def test_broken_json_far_down_is_told_before_a_missing_video(folder: Path) -> None:
    file = lines(folder, {**GOOD, "video": "nowhere.mp4"}, {"messages": []})
    refused(file, 2, '"messages" is missing')
    file.write_text(file.read_text() + "{")
    refused(file, 3, "broken JSON")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; it needs at least one record"),
        (b"\n \n", "is empty"),
        (b"[]", "holds no record; it needs at least one"),
        (b"\xff\xfe\x00", "is not UTF-8 text; save it"),
    ],
)
def test_a_file_without_records_is_refused(folder: Path, content: bytes, words: str) -> None:
    file = folder / "data.json"
    file.write_bytes(content)
    refused(file, None, words)


def test_a_missing_file_and_a_folder_are_refused(folder: Path) -> None:
    refused(folder / "nowhere.json", None, "No such data file", "check the path")
    refused(folder, None, "cannot be read", "check the path")


def test_a_link_in_a_circle_is_a_missing_video(folder: Path) -> None:
    os.symlink("loop.mp4", folder / "loop.mp4")
    refused(lines(folder, {**GOOD, "video": "loop.mp4"}), 1, "no such video file")


UNUSABLE = [
    ({**GOOD, "video": "nowhere.mp4"}, "no such video file: ", "paths are relative to "),
    ({**GOOD, "video": "."}, "no such video file: ", "paths are relative to "),
    ({**GOOD, "video": "broken.mp4"}, "broken.mp4 is not a video file", "convert it"),
    ({**GOOD, "video": "still.png"}, "still.png is a picture, not a video", "give it as an image"),
    ({**TEXT, "image": "nowhere.png"}, "no such picture file: ", "paths are relative to "),
    ({**TEXT, "image": "broken.png"}, "broken.png is not a picture", "save it as JPEG or PNG"),
    ({**TEXT, "image": "clip.mp4"}, "clip.mp4 is not a picture", "save it as JPEG or PNG"),
]


@pytest.mark.parametrize(("record", "problem", "remedy"), UNUSABLE)
def test_unusable_media_are_refused(
    folder: Path, record: dict[str, Any], problem: str, remedy: str
) -> None:
    refused(lines(folder, GOOD, record), 2, problem, remedy)


def test_skipping_counts_and_warns_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    unusable = [record for record, _, _ in UNUSABLE]
    file = lines(folder, GOOD, *unusable, unusable[0], TEXT)
    with caplog.at_level(logging.WARNING):
        found = read_records(file, unreadable="skip")
    assert [(record.line, record.media) for record in found] == [
        (1, folder / "clip.mp4"),
        (10, None),
    ]
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "apollo.train.records"]
    assert f"{file}: 8 of 10 records are left out" in warning
    assert f"the first: {file}, line 2: no such video file" in warning


def test_nothing_to_skip_means_no_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_records(lines(folder, GOOD, TEXT), unreadable="skip")
    assert not caplog.records


def test_skipping_everything_is_refused(folder: Path) -> None:
    file = lines(folder, *(record for record, _, _ in UNUSABLE))
    words = ("has no record left", "none of its 7 videos", "in line 1; check their paths")
    refused(file, None, *words, unreadable="skip")


def test_an_unknown_policy_is_refused(folder: Path) -> None:
    with pytest.raises(SettingError, match='unreadable is "ignore"; choose fail or skip.'):
        read_records(lines(folder, GOOD), unreadable="ignore")


def test_a_record_longer_than_the_context_is_refused(folder: Path) -> None:
    found = read_records(lines(folder, GOOD, TEXT, GOOD))
    check_lengths(found, [10, 20, 20], 20)
    with pytest.raises(DataError) as error:
        check_lengths(found, [10, 21, 20], 20)
    text = sentence(error)
    assert text.startswith(f"{found[1].where}: prompt and answer take 21 tokens, but there is room")
    assert "for 20; shorten the conversation, or read fewer clips" in text
    with pytest.raises(DataError, match="take 21 tokens .the first of 2 such records., but"):
        check_lengths(found, [10, 21, 22], 20)
    with pytest.raises(DataError, match="line 1: .* take 22 tokens .the first of 3 such"):
        check_lengths(found, [22, 21, 22], 20)
