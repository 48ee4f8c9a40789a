"""A written report, for the tests of its files and of what a browser makes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from asking import SHORT
from reports import rows

from apollo.evaluate import report


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video beside it, whose names need quoting in an address."""
    root = tmp_path_factory.mktemp("report")
    video = root / "my videos" / "50% #1 猫.mp4"
    video.parent.mkdir()
    shutil.copy(SHORT, video)
    output = root / "out"
    output.mkdir()
    report.write_report(rows(video), output, data="data.json", model="nano & <i>co</i>")
    return output
