"""Builds a release into `dist/` and publishes nothing: `python -m collectionstore_release`."""
