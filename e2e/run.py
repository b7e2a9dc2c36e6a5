"""Run end-to-end scenarios: `python e2e/run.py [NAME...]`."""

import sys

from collectionstore_e2e.harness.runner import main

if __name__ == "__main__":
    sys.exit(main())
