"""The page, as a Hugging Face Space starts it: `python app.py` is `apollo demo`."""

import sys

from apollo.demo.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
