"""Prompt and visual tokens to text: the whole model, its files, its prompt, its answer."""

import apollo.vision  # noqa: F401  # first, for the reason given there
