"""Snapshots of the state machine: sending to lagging followers, receiving, installing."""
