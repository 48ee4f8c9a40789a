"""A video file to exact frames with their times; no torch."""
