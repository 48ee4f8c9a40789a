"""Shared by the tests of the evaluation's report: four answered questions, some of them hostile."""

from __future__ import annotations

from pathlib import Path

from apollo.evaluate.question_file import Question
from apollo.evaluate.score import ScoredAnswer

OPTIONS = ("a cat", "<b>a dog</b>", "a tree")
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


def rows(video: Path) -> dict[str, list[ScoredAnswer]]:
    """Three questions: right, wrong and hostile, unread; and an open one."""
    asked = [
        Question("1", video, "What is in it?", "A", OPTIONS, "ocr"),
        Question("2", video, HOSTILE, "A", OPTIONS, "spatial & more", start_s=1.0, end_s=3.0),
        Question("3", video, "视频里有什么？", "C", OPTIONS, "ocr"),
        Question("4", video, "Which animal?", "A cat.", (), "ocr"),
    ]
    full = ["A", "B. <b>a dog</b>", "no idea", "a cat"]
    grey = ["B", "C", "C", ""]
    return {
        "full": [ScoredAnswer(q, text) for q, text in zip(asked, full, strict=True)],
        "grey": [ScoredAnswer(q, text) for q, text in zip(asked, grey, strict=True)],
    }
