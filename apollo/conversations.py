"""`apollo.conversation` under the name the seed's example imports."""

from apollo.conversation import Conversation, SeparatorStyle, conv_templates, default_conversation

__all__ = ["Conversation", "SeparatorStyle", "conv_templates", "default_conversation"]
