"""Run the load benchmark: `python -m collectionstore_bench.load`."""

import sys

from collectionstore_bench.load.bench import main

if __name__ == "__main__":
    sys.exit(main())
