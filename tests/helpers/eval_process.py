"""`apollo eval` as a process of its own, for tests that kill it or start it twice."""

import argparse
import sys

from apollo.cli import guarded
from apollo.evaluate.command import add_flags, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    add_flags(parser)
    parsed = parser.parse_args()
    sys.exit(guarded(lambda: None if run(parsed) == 0 else None))
