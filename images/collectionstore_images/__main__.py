"""Build the images: `python -m collectionstore_images`."""

import sys

from collectionstore_images.build import main

if __name__ == "__main__":
    sys.exit(main())
