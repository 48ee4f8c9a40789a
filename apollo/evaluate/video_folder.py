"""Finding a video by its name, wherever it lies in a folder.

In:  a folder, and names as annotation files write them: with or without a suffix or sub-folders.
Out: the path of the one file that is meant, or a sentence that says what to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apollo.errors import DataError

SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".gif")


class VideoFolder:
    """All videos under `root`, looked through once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[Path]] = {}  # with and without the suffix
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                for name in (path.name, path.stem):
                    self._by_name.setdefault(name, []).append(path)

    def find(self, name: Any, at: str) -> str:
        """The path relative to `root`; the folders in `name` decide between equal names.

        Raises:
            DataError: there is no such video, or more than one; `at` is the place that names it.
        """
        wanted = Path(str(name))
        found = self._by_name.get(wanted.name, [])
        exact = [path for path in found if path.with_suffix("").match(str(wanted.with_suffix("")))]
        found = exact or found
        if len(found) == 1:
            return found[0].relative_to(self.root).as_posix()
        if not found:
            raise DataError(
                f"{at}: no video called {name} in {self.root}; download it, or give the folder of "
                "the videos with --videos."
            )
        raise DataError(
            f"{at}: {len(found)} videos are called {name} in {self.root}; give the folder of this "
            "benchmark alone with --videos."
        )
