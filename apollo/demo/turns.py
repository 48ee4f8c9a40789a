"""What one visitor asked and read.

In:  questions, and words of answers from another thread.  Out: the messages that the page shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Turns:
    """The questions and answers of one visitor about one video: a path and strings, never tensors.

    Stop, Retry, Clear and a new video each come in while an answer is still being written, so the
    writer holds the message it writes and stops as soon as `writing` is no longer that message.
    """

    video: str | None = None
    # {"role": "user" | "assistant", "content": ...}, always in pairs
    messages: list[dict[str, str]] = field(default_factory=list)
    writing: dict[str, str] | None = None
    replaced: str = ""  # what a retried answer said before

    def start(self, video: str | None) -> None:
        """Forgets everything; from now on it is about this video."""
        self.video, self.messages, self.writing, self.replaced = video, [], None, ""

    def ask(self, question: str, video: str | None) -> dict[str, str]:
        """Opens a turn and returns the answer to be written."""
        self.end()
        if video != self.video:
            self.start(video)
        answer = {"role": "assistant", "content": ""}
        self.messages += [{"role": "user", "content": question}, answer]
        self.writing, self.replaced = answer, ""
        return answer

    def retry(self) -> dict[str, str] | None:
        """Opens the last turn again; `None` when there is none."""
        self.end()
        if not self.messages:
            return None
        answer = {"role": "assistant", "content": ""}
        self.replaced = self.messages[-1]["content"]
        self.messages[-1] = self.writing = answer
        return answer

    def end(self, failed: bool = False) -> str:
        """Closes the turn and returns the question if it has to be asked again.

        What was written stays. A question without a word of an answer is taken back, so roles
        keep alternating; a retried answer that got no word says again what it said before.
        """
        answer, self.writing = self.writing, None
        if answer is None:
            return ""
        question = self.messages[-2]["content"]
        if answer["content"]:
            return question if failed else ""
        if self.replaced:
            self.messages[-1] = {"role": "assistant", "content": self.replaced}
            return ""
        del self.messages[-2:]
        return question
