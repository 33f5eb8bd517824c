"""``python -m gateway`` is the command ``edge-gateway``."""

import sys

from gateway.cli import main

if __name__ == "__main__":
    sys.exit(main())
