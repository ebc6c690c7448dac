"""`python -m experiment`: the command line. Options in, exit status and last line out; the work is elsewhere."""

import sys

from experiment.cli import main

if __name__ == "__main__":
    sys.exit(main())
