"""Run the overload experiment: `python -m collectionstore_bench.overload`."""

import sys

from collectionstore_bench.overload.experiment import main

if __name__ == "__main__":
    sys.exit(main())
