"""Run end-to-end scenarios: `python -m collectionstore_e2e [NAME...]`."""

import sys

from collectionstore_e2e.runner import main

if __name__ == "__main__":
    sys.exit(main())
