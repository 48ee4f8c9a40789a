"""How people ask: many wordings of each kind of question, and small talk.

A template is filled with these names; which ones make sense depends on the kind:
{nouns} cats, {a} a cat, {the} the cats, {it} they, {does} do, {is_} are, {move} move,
{object} objects, {shape} shapes, {word} LUCKY, {second} 5 (a time), {bg} blue,
{verb} moves to the left, {base} move to the left.
"""

from __future__ import annotations

# Of a video with one scene: nothing needs to be named.
SINGLE: dict[str, tuple[str, ...]] = {
    "object": (
        "What is in the video?",
        "What do you see?",
        "What can you see in the video?",
        "What does the video show?",
        "What is shown in the video?",
        "What appears in the video?",
        "What is this?",
        "What {is_} {it}?",
        "Which {object} {is_} in the video?",
        "What {object} do you see?",
        "Name the {object}.",
        "What is on the screen?",
    ),
    "motion": (
        "How {does} the {object} move?",
        "What kind of movement is there?",
        "What is the movement?",
        "How {does} {it} move?",
        "What {does} {it} do?",
        "What {is_} {it} doing?",
        "Describe the motion.",
    ),
    "background": (
        "What is the background?",
        "What does the background look like?",
        "What is behind the {object}?",
        "What background do you see?",
        "Describe the background.",
        "Which background does the video have?",
        "What is in the background?",
    ),
    "word": (
        "What does the text say?",
        "What text is there?",
        "What is written in the video?",
        "Which word is on the screen?",
        "Read the text.",
        "Is there text, and what does it say?",
        "What word do you see?",
        "What is the text?",
    ),
    "count": (
        "How many objects are there?",
        "How many are there?",
        "How many things do you see?",
        "Count the objects.",
    ),
    "colour": (
        "What colour {is_} the {shape}?",
        "What color {is_} the {shape}?",
        "What color {is_} {it}?",
    ),
    "position": ("Where {is_} {it}?", "Where on the screen {is_} {it}?", "Where is the {object}?"),
    "second_object": (
        "What else is in the video?",
        "What other thing is there?",
        "What else do you see?",
        "What is next to {the}?",
    ),
}

# About one object by name: right for any number of scenes.
NAMED: dict[str, tuple[str, ...]] = {
    "motion": (
        "How {does} {the} move?",
        "What {does} {the} do?",
        "What {is_} {the} doing?",
        "Describe the motion of {the}.",
        "Tell me how {the} {move}.",
    ),
    "background": (
        "What is the background of {the}?",
        "What is behind {the}?",
        "Which background {does} {the} have?",
        "What is the background when you see {the}?",
    ),
    "count": (
        "How many {nouns} are there?",
        "How many {nouns} do you see?",
        "How many {nouns} are in the video?",
        "Count the {nouns}.",
        "What is the number of {nouns}?",
    ),
    "colour": (
        "What colour {is_} {the}?",
        "What color {is_} {the}?",
        "Which colour {does} {the} have?",
        "What is the color of {the}?",
    ),
    "position": (
        "Where is {the}?",
        "Where on the screen is {the}?",
        "Where do you see {the}?",
        "In which part of the picture is {the}?",
    ),
    "second_object": (
        "What is next to {the}?",
        "What is beside {the}?",
        "What else is there with {the}?",
    ),
    "word": (
        "What text is shown with {the}?",
        "What does the text say when you see {the}?",
        "Which word is on the screen with {the}?",
    ),
    "when": (
        "When {does} {the} appear?",
        "When do you see {the}?",
        "When {is_} {the} on the screen?",
        "At what time {does} {the} appear?",
        "From when to when {is_} {the} shown?",
    ),
    "next": (
        "What comes after {the}?",
        "What appears after {the}?",
        "What is next after {the}?",
        "What follows {the}?",
        "What do you see after {the}?",
    ),
    "before": (
        "What comes before {the}?",
        "What appears before {the}?",
        "What do you see before {the}?",
        "What is shown before {the}?",
    ),
    "unknown": (
        "What is the name of {the}?",
        "How old {is_} {the}?",
        "What {does} {the} think?",
        "Who owns {the}?",
    ),
}

# About the whole video.
WHOLE: dict[str, tuple[str, ...]] = {
    "describe": (
        "Describe the video.",
        "What happens in this video?",
        "Tell me about the video.",
        "Describe what you see.",
        "Describe this video in detail.",
        "Give me a summary of the video.",
        "Summarize the video.",
        "Can you describe the video?",
    ),
    "duration": (
        "How long is the video?",
        "What is the length of the video?",
        "How many seconds does the video last?",
        "How long does it take?",
    ),
    "num_scenes": (
        "How many scenes are there?",
        "How many scenes does the video have?",
        "How many different scenes do you see?",
        "Count the scenes.",
    ),
    "first": (
        "What appears first?",
        "What comes first?",
        "What is shown at the start?",
        "What is at the beginning of the video?",
        "What do you see first?",
        "What does the video start with?",
    ),
    "last": (
        "What appears last?",
        "What comes last?",
        "What is shown at the end?",
        "What is at the end of the video?",
        "What do you see last?",
        "What does the video end with?",
    ),
    "list": (
        "What is in the video?",
        "What objects appear, in order?",
        "List everything in order.",
        "Which objects are in the video, in order?",
        "What can you see in the video?",
        "What does the video show?",
        "What do you see?",
    ),
    "words": (
        "What does the text say?",
        "What text is there?",
        "What is written in the video?",
        "Read the text.",
        "Which words are shown?",
    ),
    "at": (
        "What is shown at {second} seconds?",
        "What do you see at second {second}?",
        "What appears at {second} seconds?",
        "What is on the screen after {second} seconds?",
    ),
    "when_word": (
        'When is the text "{word}" shown?',
        'When does the word "{word}" appear?',
        'When do you see "{word}"?',
    ),
    "unknown": (
        "Who made this video?",
        "Where was this video made?",
        "What music is in the video?",
        "What happens after the video?",
    ),
}

YES_NO: dict[str, tuple[str, ...]] = {
    "object": (
        "Is there {a}?",
        "Is there {a} in the video?",
        "Do you see {a}?",
        "Can you see {a}?",
        "Are there any {nouns}?",
        "Does {a} appear?",
    ),
    "background": ("Is the background {bg}?", "Is it {bg} in the background?"),
    "background_of": ("Is the background of {the} {bg}?",),
    "motion": ("{Does} {the} {base}?", "Is it true that {the} {verb}?"),
    "word": ('Does the text say "{word}"?', 'Is the word "{word}" shown?'),
    "any_text": ("Is there any text?", "Is there a word on the screen?", "Do you see text?"),
}

CHAT: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Hello!", "Hi.", "Hi there!", "Good morning.", "Hey!"), "Hello! Ask me about the video."),
    (("Thanks!", "Thank you.", "Thank you very much!", "Great, thanks."), "You are welcome."),
    (
        ("What can you do?", "How can you help me?", "What can I ask you?"),
        "I can say what is in a short cartoon video, how it moves, when it appears and what the"
        " text says.",
    ),
    (
        ("Who are you?", "What are you?", "What is your name?"),
        "I am Apollo nano, a very small model that watches cartoon videos.",
    ),
    (("How are you?", "How do you do?"), "I am fine, thank you."),
    (("Goodbye!", "Bye.", "See you later."), "Goodbye!"),
    (
        ("Are you always right?", "Can I trust you?", "Do you make mistakes?"),
        "No, I am very small and I make mistakes.",
    ),
)
