"""Start, stop and inspect the Kubernetes cluster of the tests: `python -m collectionstore_e2e.kube up`."""

import sys

from collectionstore_e2e.kube.cli import main

if __name__ == "__main__":
    sys.exit(main())
