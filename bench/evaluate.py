"""The exam: labelled episodes through the real pipeline, the figures beside the targets and beside a naive rule."""

import sys

from evaluation.main import main

if __name__ == "__main__":
    sys.exit(main())
