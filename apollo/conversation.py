"""Conversation templates under the names the original used; a shell for other people's scripts.

In:  a copy of a template and its messages.  Out: the prompt text, as the original wrote it.
Odd: `qwen_2` and `qwen_1_5` are one template, and their text comes from `prompt.chatml`, the
     only ChatML there is. LLAMA_3 calls the assistant "system" and "plain" has no second
     separator. Templates render what they are given; `prompt.build_prompt` also disarms markers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto

from apollo.constants import IM_END, IM_START, SYSTEM_PROMPT
from apollo.errors import PromptError


class SeparatorStyle(Enum):
    """How turns are separated."""

    TWO = auto()
    MPT = auto()
    PLAIN = auto()
    CHATML = auto()
    MISTRAL = auto()
    LLAMA_3 = auto()


@dataclass
class Conversation:
    """A system text, roles and a growing list of [role, text]; a last text of None stays open."""

    system: str
    roles: tuple[str, str]
    messages: list[list[str | None]] = field(default_factory=list)
    sep_style: SeparatorStyle = SeparatorStyle.CHATML
    sep: str = IM_END
    sep2: str | None = None
    version: str = "Unknown"

    def append_message(self, role: str, message: str | None) -> None:
        self.messages.append([role, message])

    def copy(self) -> Conversation:
        return replace(self, messages=[list(message) for message in self.messages])

    def get_prompt(self) -> str:
        if self.sep_style is SeparatorStyle.CHATML:
            return self._chatml()
        if self.sep_style is SeparatorStyle.PLAIN:
            return self._plain()
        header, between, ends = {
            SeparatorStyle.TWO: (self.system + self.sep, ": ", (self.sep, self.sep2)),
            SeparatorStyle.MPT: (self.system + self.sep, "", (self.sep, self.sep)),
            SeparatorStyle.LLAMA_3: (self.system + self.sep, "", (self.sep, self.sep)),
            SeparatorStyle.MISTRAL: (self.system, "", (self.sep, self.sep2)),
        }[self.sep_style]
        text = header
        for position, (role, message) in enumerate(self.messages):
            if self.sep_style is SeparatorStyle.MISTRAL:  # roles are not written, only brackets
                role, message = "", _in_brackets(message) if position % 2 == 0 else message
            if message:
                text += f"{role}{between}{message}{ends[position % 2] or ''}"
            else:
                text += f"{role}{between}".rstrip(" ")
        return text

    def _chatml(self) -> str:
        from apollo.model.prompt import chatml  # its room imports torch, the templates do not

        turns, last = self.messages, self.messages[-1:]
        is_open = bool(last) and not last[0][1]
        if is_open:
            turns = turns[:-1]
        return chatml(
            [
                {"role": (role or "").removeprefix(IM_START), "content": message or ""}
                for role, message in turns
            ],
            system_prompt=self.system.removeprefix(f"{IM_START}system\n\n"),
            add_generation_prompt=is_open,
        )

    def _plain(self) -> str:
        if any(message for _, message in self.messages[1::2]) and self.sep2 is None:
            raise PromptError(
                'The template "plain" holds one caption and no answers; choose "qwen_2" to talk.'
            )
        ends = (self.sep, self.sep2 or "")
        return self.system + "".join(
            message + ends[position % 2]
            for position, (_, message) in enumerate(self.messages)
            if message
        )


def _in_brackets(message: str | None) -> str | None:
    return f"[INST] {message} [/INST]" if message else message


_QWEN = Conversation(
    system=f"{IM_START}system\n\n{SYSTEM_PROMPT}",
    roles=(f"{IM_START}user", f"{IM_START}assistant"),
    version="qwen",
)
_LLAMA_START, _LLAMA_END = "<|start_header_id|>", "<|end_header_id|>\n\n"


def _mpt(system: str, version: str) -> Conversation:
    return Conversation(
        system=f"{IM_START}system\n{system}",
        roles=(f"{IM_START}user\n", f"{IM_START}assistant\n"),
        sep_style=SeparatorStyle.MPT,
        version=version,
    )


conv_templates = {
    "qwen_1_5": _QWEN,
    "qwen_2": _QWEN.copy(),
    "hermes-2": _mpt("Answer the questions.", "hermes-2"),
    "mpt": _mpt(
        "A conversation between a user and an LLM-based AI assistant. "
        "The assistant gives helpful and honest answers.",
        "mpt",
    ),
    "plain": Conversation(
        system="", roles=("", ""), sep_style=SeparatorStyle.PLAIN, sep="\n", version="plain"
    ),
    "vicuna_v1": Conversation(
        system="A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions.",
        roles=("USER", "ASSISTANT"),
        sep_style=SeparatorStyle.TWO,
        sep=" ",
        sep2="</s>",
        version="v1",
    ),
    "mistral": Conversation(
        system="<s>",
        roles=("USER", "ASSISTANT"),
        sep_style=SeparatorStyle.MISTRAL,
        sep="",
        sep2="</s>",
        version="mistral",
    ),
    "llama_3": Conversation(
        system=f"<|begin_of_text|>{_LLAMA_START}system{_LLAMA_END}"
        "You are a helpful language and vision assistant. You are able to understand the visual "
        "content that the user provides, and assist the user with a variety of tasks using "
        "natural language.",
        roles=(f"{_LLAMA_START}user{_LLAMA_END}", f"{_LLAMA_START}system{_LLAMA_END}"),
        sep_style=SeparatorStyle.LLAMA_3,
        sep="<|end_of_text|>",
        version="llama_v3",
    ),
}
default_conversation = conv_templates["qwen_2"]
