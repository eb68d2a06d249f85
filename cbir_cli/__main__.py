"""Entry point of ``cbir`` and ``python -m cbir_cli``."""

import sys

from cbir_cli.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
