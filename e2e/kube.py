"""Start, stop and look at the Kubernetes for tests: `python e2e/kube.py up`."""

import sys

from collectionstore_e2e.kube.cli import main

if __name__ == "__main__":
    sys.exit(main())
