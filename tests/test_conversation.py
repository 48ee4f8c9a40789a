"""The compatibility templates write what the original wrote, and copies do not share messages."""

import json
import subprocess
import sys

import pytest
from paths import GOLDEN

from apollo import conversation, conversations
from apollo.conversation import Conversation, SeparatorStyle, conv_templates
from apollo.errors import PromptError
from apollo.model import prompt

PROMPTS = GOLDEN / "cases" / "prompts.json"
PROMPTS = json.loads(PROMPTS.read_text())
RELEASED = {
    name.removeprefix("released/"): case
    for name, case in PROMPTS["templates"].items()
    if name.startswith("released/")
}


def fill(name, texts):
    conv = conv_templates[name].copy()
    for position, text in enumerate(texts):
        conv.append_message(conv.roles[position % 2], text)
    return conv


def test_the_released_names_are_all_there():
    assert set(conv_templates) == set(RELEASED)


@pytest.mark.parametrize("name", sorted(RELEASED))
def test_template_is_the_released_one(name):
    golden = RELEASED[name]
    conv = fill(name, PROMPTS["messages"]["one_turn"])
    assert conv.get_prompt() == golden["one_turn"]
    assert [conv.sep, conv.sep2, list(conv.roles), conv.version, conv.sep_style.name] == [
        golden[key] for key in ("sep", "sep2", "roles", "version", "sep_style")
    ]
    stop_str = conv.sep if conv.sep_style != SeparatorStyle.TWO else conv.sep2
    assert stop_str == golden["stop_str"]


@pytest.mark.parametrize("name", sorted(set(RELEASED) - {"plain"}))
def test_three_turns_are_the_released_ones(name):
    conv = fill(name, PROMPTS["messages"]["three_turn"])
    assert conv.get_prompt() == RELEASED[name]["three_turn"]


def test_plain_says_that_it_holds_no_answers():
    with pytest.raises(PromptError, match="plain"):
        fill("plain", PROMPTS["messages"]["three_turn"]).get_prompt()


def test_plain_with_a_second_separator_holds_answers():
    conv = fill("plain", ["a", "b", "c"])
    conv.sep2 = "|"
    assert conv.get_prompt() == "a\nb|c\n"


def test_closed_conversations_end_with_the_separator():
    assert fill("qwen_2", ["a", "b"]).get_prompt().endswith("<|im_start|>assistant\nb<|im_end|>\n")
    assert fill("vicuna_v1", ["a", "b"]).get_prompt().endswith("USER: a ASSISTANT: b</s>")
    assert fill("mistral", ["a", "b"]).get_prompt() == "<s>[INST] a [/INST]b</s>"


def test_a_changed_system_text_reaches_the_chatml_prompt():
    conv = fill("qwen_2", ["a", None])
    conv.system = "Be brief."
    expected = prompt.chatml([{"role": "user", "content": "a"}], system_prompt="Be brief.")
    assert conv.get_prompt() == expected
    conv.system = ""
    assert conv.get_prompt() == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"


def test_a_copy_shares_nothing():
    first = conv_templates["qwen_2"].copy()
    first.append_message(first.roles[0], "a")
    second = first.copy()
    second.messages[0][1] = "b"
    second.append_message(second.roles[1], "c")
    assert first.messages == [["<|im_start|>user", "a"]]
    assert conv_templates["qwen_2"].messages == conv_templates["qwen_1_5"].messages == []


def test_both_module_names_give_the_same_objects():
    assert conversations.conv_templates is conversation.conv_templates
    assert conversations.SeparatorStyle is SeparatorStyle
    assert conversations.Conversation is Conversation


def test_templates_import_without_torch():
    code = "import sys, apollo.conversations; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
