"""Frames to visual tokens: transforms, the two towers, the connector. Modules only, no files."""

# transformers' Auto classes import our model as soon as they are imported (see apollo/__init__.py),
# and it needs this room: so they come first, not from inside one of its half-made modules
import transformers.models.auto.modeling_auto  # noqa: F401
