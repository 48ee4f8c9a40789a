"""One question: its video is read, its answer written."""
