"""Training conversations, read from JSON or JSON lines and checked to the last one.

In:  a file of records {"id"?: text, "video": path | "image": path | neither,
     "messages": [{"role": "system" | "user" | "assistant", "content": text}, ...],
     "start_s"?: seconds, "end_s"?: seconds}; paths are relative to the file, times to the video.
     A system message may come first; then user and assistant alternate, and the assistant ends.
Out: `Record`s whose videos and pictures were opened once, so that training does not stop at one
     and need not open a video again to know its length.
Odd: a record whose video cannot be used is refused or left out, never trained on as text.
"""

from __future__ import annotations

import difflib
import functools
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from apollo.data.json_lines import located_values
from apollo.errors import DataError, SettingError, VideoError
from apollo.model.prompt import ROLES
from apollo.train.stage import POLICIES
from apollo.video.info import VideoInfo
from apollo.video.picture import read_image
from apollo.video.reader import probe

logger = logging.getLogger(__name__)

KEYS = ("id", "video", "image", "messages", "start_s", "end_s")
MESSAGE_KEYS = ("role", "content")
LONGEST_S = 1e9
END_SLACK_S = 1.0  # a range may end this far behind the video: notes are often in whole seconds


@dataclass(frozen=True)
class Record:
    """One conversation. `line` is where it begins in its file, counted from 1."""

    file: Path
    line: int
    id: str
    media: Path | None
    is_image: bool
    messages: tuple[dict[str, str], ...]
    start_s: float | None = None
    end_s: float | None = None
    info: VideoInfo | None = field(default=None, compare=False)  # of a video that was opened

    @property
    def where(self) -> str:
        """How an error names it: "data.jsonl, line 3"."""
        return f"{self.file}, line {self.line}"


def read_records(file: Path, *, unreadable: str = "fail") -> list[Record]:
    """Every conversation of a JSON list or of JSON lines.

    `unreadable` is for a video or picture that is missing or cannot be opened: "fail", or "skip"
    to leave its record out, which one warning counts. Everything else that is wrong is an error.

    Raises:
        DataError: the file cannot be read, or a record is wrong; names the file and the line.
        SettingError: there is no such policy.
    """
    if unreadable not in POLICIES:
        raise SettingError(f'unreadable is "{unreadable}"; choose {" or ".join(POLICIES)}.')
    # broken JSON anywhere is told before wrong values, and these before a video is opened
    records = [_record(value, file, line) for line, value in list(located_values(file))]
    usable, problems = _with_media(records)
    if problems and unreadable == "fail":
        raise DataError(problems[0])
    if not usable:
        if problems:
            raise DataError(
                f"{file} has no record left, because none of its {len(problems)} videos and "
                f"pictures can be used, the first one in line {records[0].line}; check their paths."
            )
        raise DataError(f"{file} holds no record; it needs at least one.")
    if problems:
        logger.warning(
            "%s: %d of %d records are left out, because their videos or pictures cannot be used; "
            "the first: %s",
            *(file, len(problems), len(records), problems[0]),
        )
    return usable


def check_lengths(records: Sequence[Record], sizes: Sequence[int], max_length: int) -> None:
    """Checks that every record, prompt and answers, fits into the context; sizes are in tokens.

    Raises:
        DataError: one does not; names the first and counts the others.
    """
    too_long = [
        (record, size) for record, size in zip(records, sizes, strict=True) if size > max_length
    ]
    if not too_long:
        return
    record, size = too_long[0]
    among = f" (the first of {len(too_long)} such records)" if len(too_long) > 1 else ""
    raise DataError(
        f"{record.where}: prompt and answer take {size} tokens{among}, but there is room for "
        f"{max_length}; shorten the conversation, or read fewer clips of its video."
    )


# ---- values ------------------------------------------------------------------------------


def _record(value: Any, file: Path, line: int) -> Record:
    where = f"{file}, line {line}"
    if not isinstance(value, dict):
        raise DataError(
            f'{where}: a record is an object in curly brackets with the key "messages"; this is '
            "something else."
        )
    _check_keys(value, KEYS, where)
    name = value.get("id")
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise DataError(f'{where}: "id" must be a text; name the record or leave it out.')
    kinds = [kind for kind in ("video", "image") if value.get(kind) is not None]
    if len(kinds) == 2:
        raise DataError(f'{where}: it has both "video" and "image"; keep one of them.')
    media = value[kinds[0]] if kinds else None
    if kinds and (not isinstance(media, str) or not media.strip() or "\0" in media):
        raise DataError(f'{where}: "{kinds[0]}" must be a path; write it as text or leave it out.')
    start_s, end_s = _times(value, where)
    if (start_s is not None or end_s is not None) and kinds != ["video"]:
        raise DataError(
            f'{where}: "start_s" and "end_s" are a part of a video, but there is none; remove them.'
        )
    return Record(
        file=file,
        line=line,
        id=name or f"{file.stem}-{line}",
        media=None if media is None else file.parent / media,
        is_image=kinds == ["image"],
        messages=_messages(value.get("messages"), where),
        start_s=start_s,
        end_s=end_s,
    )


def _check_keys(value: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in value:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f' (did you mean "{close[0]}"?)' if close else ""
            raise DataError(f'{where}: unknown key "{key}"{hint}; the keys are {", ".join(known)}.')


def _messages(messages: Any, where: str) -> tuple[dict[str, str], ...]:
    if not isinstance(messages, list) or not messages:
        raise DataError(
            f'{where}: "messages" is missing or empty; list at least a question and its answer.'
        )
    for number, message in enumerate(messages, start=1):
        at = f"{where}: message {number}"
        if not isinstance(message, dict):
            raise DataError(f'{at} is no object; give it the keys "role" and "content".')
        _check_keys(message, MESSAGE_KEYS, at)
        if message.get("role") not in ROLES:
            raise DataError(
                f"{at} has the role {json.dumps(message.get('role'), ensure_ascii=False)}; the "
                f"roles are {', '.join(ROLES)}."
            )
        content = message.get("content")
        if not isinstance(content, str) or not content.strip():
            raise DataError(f'{at} has no text; write its "content", or remove the record.')
    first = 1 if messages[0]["role"] == "system" else 0
    for number, message in enumerate(messages[first:]):
        expected = ROLES[1 + number % 2]
        if message["role"] != expected:
            raise DataError(
                f"{where}: message {first + number + 1} is from the {message['role']} but has to "
                f"be the {expected}'s; after an optional system message, user and assistant "
                "alternate."
            )
    if messages[-1]["role"] != "assistant":
        if not any(message["role"] == "assistant" for message in messages):
            raise DataError(
                f"{where}: there is no answer of the assistant to learn from; add one at the end."
            )
        raise DataError(
            f"{where}: the conversation ends with the {messages[-1]['role']}; end it with an "
            "answer of the assistant."
        )
    return tuple({"role": m["role"], "content": m["content"]} for m in messages)


def _times(value: Mapping[str, Any], where: str) -> tuple[float | None, float | None]:
    times: list[float | None] = []
    for key in ("start_s", "end_s"):
        time_s = value.get(key)
        is_number = isinstance(time_s, (int, float)) and not isinstance(time_s, bool)
        if time_s is not None and not (is_number and 0 <= time_s < LONGEST_S):
            raise DataError(f'{where}: "{key}" must be a number of seconds, 0 or more.')
        times.append(None if time_s is None else float(time_s))
    start_s, end_s = times
    if end_s is not None and end_s <= (start_s or 0.0):
        raise DataError(f'{where}: "end_s" must lie after "start_s"; change one of them.')
    return start_s, end_s


# ---- videos and pictures -----------------------------------------------------------------


def _with_media(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """The records that can be trained on, and a sentence for each of the others."""
    known: dict[tuple[Path, bool], VideoInfo | str | None] = {}  # many records share a video
    usable: list[Record] = []
    problems: list[str] = []
    for record in records:
        if record.media is not None:
            key = (record.media, record.is_image)
            if key not in known:
                known[key] = _open(record.media, record.is_image, record.file.parent)
            found = known[key]
            if isinstance(found, str):
                problems.append(f"{record.where}: {found}")
                continue
            if found is not None:
                _check_range(record, found.duration_s)
                record = replace(record, info=found)
        usable.append(record)
    return usable, problems


def _open(media: Path, is_image: bool, folder: Path) -> VideoInfo | str | None:
    """What is known of a video, None for a picture; or what is wrong with it and what to do."""
    if not os.path.isfile(media):  # false also where a folder on the way may not be entered
        kind = "picture" if is_image else "video"
        return f"no such {kind} file: {media}; paths are relative to {folder.resolve()}."
    try:
        if is_image:
            read_image(media)
            return None
        state = media.stat()
        return _info_of(media, state.st_size, state.st_mtime_ns)
    except VideoError as error:
        return str(error)


@functools.lru_cache(maxsize=100_000)  # the data of a stage are read more than once
def _info_of(media: Path, size: int, mtime_ns: int) -> VideoInfo:
    """Of the file as it is now: its size and time of change are only there for the cache."""
    return probe(media)


def _check_range(record: Record, duration_s: float) -> None:
    start_s, end_s = record.start_s or 0.0, record.end_s
    if start_s < duration_s and (end_s is None or end_s <= duration_s + END_SLACK_S):
        return
    wanted = f"from {start_s:g} s on" if end_s is None else f"from {start_s:g} to {end_s:g} s"
    raise DataError(
        f"{record.where}: {record.media} is {duration_s:.1f} s long, so it cannot be read "
        f'{wanted}; correct "start_s" and "end_s".'
    )
