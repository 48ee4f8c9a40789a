"""Where the repository and the tests' data are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "tests" / "data"
GOLDEN = DATA / "golden"  # recorded from the original code
TINY = GOLDEN / "tiny-apollo"  # the small checkpoint it was recorded with
EXAMPLE_VIDEOS = ROOT / "apollo" / "demo" / "assets"
