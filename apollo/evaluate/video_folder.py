"""Videos found by the name that an annotation file gives them.

In:  a folder, and names with or without folders and suffix.  Out: the path of the one video meant.
Odd: archives nest their videos differently, so a name counts wherever it lies. Linked folders are
     followed; each folder is entered once, whatever links lead back to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from apollo.errors import DataError

# fmt: off
SUFFIXES = (
    ".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg",
    ".gif", ".vob", ".flv", ".f4v", ".wmv", ".asf", ".3gp", ".3g2", ".ogv", ".mxf", ".divx", ".m2v",
)
# fmt: on


class VideoFolder:
    """The videos under `root`, looked through when a name is first not a path. With `deep` those in
    its folders are found by their names alone; without it a name may only lack its suffix.
    """

    def __init__(self, root: Path, *, deep: bool = True) -> None:
        self.root = root
        self.deep = deep
        self._by_name: dict[Path, dict[str, list[Path]]] = {}  # per folder that was looked through

    def find(self, name: str) -> Path:
        """The one video called `name`; the folders in the name decide between equal names.

        Raises:
            DataError: there is no such video, or more than one.
        """
        if os.path.isfile(self.root / name):
            return self.root / name
        wanted = PurePath(name)
        by_name = self._names_in(self.root if self.deep else (self.root / wanted).parent)
        found = by_name.get(wanted.name) or by_name.get(_bare(wanted)) or []
        folders = wanted.parent.parts
        nested = [path for path in found if path.parent.parts[-len(folders) :] == folders]
        found = nested if folders and nested else found
        if len(found) > 1:  # or one file under several links
            found = list({os.path.realpath(path): path for path in reversed(found)}.values())
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(
                f"{len(found)} videos are called {name} in {self.root}; give the folder of this "
                "benchmark alone with --videos."
            )
        if self.deep:
            raise DataError(
                f"no video called {name} in {self.root}; download it, or give the folder of the "
                "videos with --videos."
            )
        raise DataError(f"no such video file: {name}; paths are relative to {self.root.resolve()}.")

    def _names_in(self, folder: Path) -> dict[str, list[Path]]:
        """The videos by their names, with and without the suffix."""
        if folder not in self._by_name:
            names = self._by_name[folder] = {}
            for path in _videos_in(folder, self.deep):
                for name in {path.name, _bare(path)}:
                    names.setdefault(name, []).append(path)
        return self._by_name[folder]


def _bare(path: PurePath) -> str:
    """The name without a video's suffix; "film.v2" has none."""
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _videos_in(root: Path, deep: bool) -> Iterator[Path]:
    entered = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in entered:
            folders.clear()
            continue
        entered.add((state.st_dev, state.st_ino))
        # a folder itself comes before links to it
        folders.sort(key=lambda name: (os.path.islink(os.path.join(folder, name)), name))
        for name in sorted(files):
            path = Path(folder, name)
            if path.suffix.lower() in SUFFIXES and os.path.isfile(path):
                yield path
        if not deep:
            return
