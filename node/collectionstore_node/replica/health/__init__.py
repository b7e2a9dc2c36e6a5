"""Detects a stalled event loop, disk or state machine, and ends the leadership of a stalled leader."""
