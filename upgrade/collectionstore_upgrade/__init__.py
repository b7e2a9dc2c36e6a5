"""Upgrades a local cluster from an older commit to this one, and back: `python -m collectionstore_upgrade`."""
