"""Scenes to questions and answers, in English and Chinese."""
