"""What a run leaves: results.json for programs, report.html for people, a table for the terminal.

In:  the answers of one model, per column: with the video ("full") and for each ablation.
Out: files in the output folder. The report opens from the disk and needs no network.
Odd: videos are linked where they are, by a path relative to the report; only a small picture of
     each is written beside it. Everything that came from data is escaped by the template.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from apollo.data.choices import LETTERS
from apollo.data.shares import Share
from apollo.data.text import whole_characters
from apollo.data.whole_file import whole_file, write_text
from apollo.errors import VideoError
from apollo.evaluate.left_out import LeftOut
from apollo.evaluate.protocol import ABLATIONS, FULL
from apollo.evaluate.question_file import Question
from apollo.evaluate.score import ScoredAnswer, Summary, summarise
from apollo.video.reader import Video

log = logging.getLogger(__name__)

RESULTS, REPORT, POSTERS = "results.json", "report.html", "posters"
POSTER_PX = 360  # the longer side
TITLES = {FULL: "With the video", "text-only": "Text only", "centre-frame": "Centre frame"} | {
    "grey": "Grey video"
}

Columns = Mapping[str, Sequence[ScoredAnswer]]  # per ablation: all questions in file order


def write_results(
    columns: Columns,
    folder: Path,
    *,
    data: str,
    model: str,
    settings: Mapping[str, Any],
    left_out: Sequence[LeftOut] = (),
) -> dict[str, Any]:
    """Writes and returns what results.json holds: the figures, then every answer.

    `settings` are what else somebody needs to get the same figures; `left_out` are the questions
    that the figures do not count.
    """
    rows = []
    for scored in zip(*columns.values(), strict=True):
        question = scored[0].question
        record = question.as_record(_relative(question.video, folder))
        answers = {
            name: {"given": row.given, "letter": row.letter, "right": row.is_right}
            for name, row in zip(columns, scored, strict=True)
        }
        rows.append({**record, "answers": answers})
    figures = {name: summarise(column).as_json() for name, column in columns.items()}
    named = {"data": data, "model": model, "settings": dict(settings)}
    unasked = [one.as_json() for one in left_out]
    results = {**named, "figures": figures, "left_out": unasked, "questions": rows}
    text = json.dumps(results, ensure_ascii=False, indent=1)
    write_text(folder / RESULTS, whole_characters(text) + "\n")
    return results


def table(columns: Columns) -> str:
    """The figures as lines of text for a terminal, in per cent."""
    summaries = {name: summarise(column) for name, column in columns.items()}
    rows = [["", *(TITLES[name].lower() for name in columns)]]
    for title, cells in _figures(summaries):
        rows.append([title, *(cell["text"] for cell in cells)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def write_report(
    columns: Columns, folder: Path, *, data: str, model: str, left_out: Sequence[LeftOut] = ()
) -> Path:
    """Writes report.html and the pictures of the videos; returns the report's path."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    summaries = {name: summarise(column) for name, column in columns.items()}
    environment = Environment(
        loader=PackageLoader("apollo.evaluate", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    first = next(iter(columns))
    posters: dict[Path, str | None] = {}
    cards = []
    for scored in zip(*columns.values(), strict=True):
        question = scored[0].question
        if question.video not in posters:
            posters[question.video] = _poster(question.video, folder)
        card = {
            "question": question,
            "link": _link(question, folder),
            "poster": posters[question.video],
            "range": _range(question),
            "options": list(zip(LETTERS, question.options, strict=False)),
            "answers": [(TITLES[name], row) for name, row in zip(columns, scored, strict=True)],
        }
        cards.append(card)
    page = environment.get_template("report.html.j2").render(
        data=data,
        model=model,
        num_questions=len(cards),
        num_videos=len(posters),
        first=TITLES[first],
        columns=[{"title": TITLES[n], "note": ABLATIONS.get(n, "")} for n in columns],
        figures=_figures(summaries),
        categories=list(summaries[first].categories),
        cards=cards,
        left_out=left_out,
    )
    path = folder / REPORT
    write_text(path, whole_characters(page))
    return path


def _figures(summaries: Mapping[str, Summary]) -> list[tuple[str, list[dict[str, Any]]]]:
    """(title, one cell per column) of every line of the table."""
    first = next(iter(summaries.values()))
    lines = [
        (name, [_share_cell(s.categories[name]) for s in summaries.values()])
        for name in first.categories
    ]
    macro = [_cell(s.macro, s.macro_interval, "") for s in summaries.values()]
    lines.append(("macro average", macro))
    lines.append(("all questions", [_share_cell(s.overall) for s in summaries.values()]))
    if any(summary.unread for summary in summaries.values()):
        unread = [{"text": str(s.unread), "share": None} for s in summaries.values()]
        lines.append(("no letter to read", unread))
    return lines


def _share_cell(share: Share) -> dict[str, Any]:
    return _cell(share.value, share.interval, f"{share.right} of {share.total}")


def _cell(value: float, interval: tuple[float, float], counts: str) -> dict[str, Any]:
    low, high = (100 * end for end in interval)
    text = f"{100 * value:.1f} ({low:.1f} to {high:.1f})"
    return {
        "text": text,
        "share": round(100 * value, 1),
        "low": round(low, 1),
        "high": round(high, 1),
        "counts": counts,
    }


def _range(question: Question) -> str:
    if question.start_s is None and question.end_s is None:
        return ""
    end = "the end" if question.end_s is None else f"{question.end_s:g} s"
    return f"{question.start_s or 0:g} s to {end}"


def _link(question: Question, folder: Path) -> str:
    """The video as an address, beginning at the question's own range."""
    link = quote(os.fsencode(_relative(question.video, folder)))
    if question.start_s is None and question.end_s is None:
        return link
    end = "" if question.end_s is None else f",{question.end_s:g}"
    return f"{link}#t={question.start_s or 0:g}{end}"


def _relative(video: Path, folder: Path) -> str:
    return Path(os.path.relpath(video.absolute(), folder.absolute())).as_posix()


def _poster(video: Path, folder: Path) -> str | None:
    """The relative path of a small picture of the video; None if it cannot be read."""
    name = hashlib.blake2b(os.fsencode(_relative(video, folder)), digest_size=8).hexdigest()
    path = folder / POSTERS / f"{name}.jpg"
    if not path.exists():
        try:
            picture = Image.fromarray(_middle_frame(video))
        except VideoError as error:  # text-only runs do without readable videos
            log.warning("The report shows no picture of %s: %s", video.name, error)
            return None
        picture.thumbnail((POSTER_PX, POSTER_PX))
        with whole_file(path) as growing:
            picture.save(growing, quality=80)
    return f"{POSTERS}/{path.name}"


def _middle_frame(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    with Video(path) as video:
        (frame,) = video.frames([len(video) // 2])
    return frame
