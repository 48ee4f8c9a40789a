"""Frames to visual tokens: transforms, the two towers, the connector. Modules only, no files."""
