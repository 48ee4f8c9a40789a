"""The page: chat with a video in the browser."""
