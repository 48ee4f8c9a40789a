"""Everything that can be wrong with what a person gave us.

ApolloError
├── VideoError        the video or picture: missing, damaged, not a video, no frames, ...
├── PromptError       the question or conversation: empty, slots do not match, too long, ...
├── CheckpointError   the model files: missing, pickled, misshapen, unknown name, ...
├── ModelError        the model computed what is no number: too small a number type, ...
├── SettingError      a setting: out of range, not available on this machine, ...
│   └── OutputError   standard output: closed, full, ...
├── RecipeError       a training recipe: unknown key, nothing to train, ...
├── DataError         a data file: broken line, missing video, wrong answer letter, ...
└── AdapterError      a LoRA adapter: not one, or made for another base, ...

The message is one plain sentence that names the input and the remedy; it is shown as it is on
the command line and in the browser. Anything that is not an ApolloError is a bug of ours.
"""


class ApolloError(Exception):
    """Base of every error a person can cause and mend."""


class VideoError(ApolloError):
    """The video or picture cannot be used."""


class PromptError(ApolloError):
    """The question, the conversation or its visual slots do not fit."""


class CheckpointError(ApolloError):
    """The model files cannot be found, read or trusted."""


class ModelError(ApolloError):
    """The model computed numbers that are not finite."""


class SettingError(ApolloError, ValueError):
    """A setting is out of range or not available on this machine."""


class OutputError(SettingError):
    """Standard output takes no text, so there is no use in going on."""


class RecipeError(ApolloError):
    """A training recipe cannot be run as it is written."""


class DataError(ApolloError):
    """A record of a training or evaluation file cannot be used."""


class AdapterError(ApolloError):
    """An adapter cannot be read, or does not belong to this model."""
