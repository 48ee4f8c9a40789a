"""Prompt and visual tokens to text: the whole model, its files, its prompt, its answer."""
