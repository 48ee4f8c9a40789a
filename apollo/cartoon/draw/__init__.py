"""Scenes to pictures, clips and video files."""
