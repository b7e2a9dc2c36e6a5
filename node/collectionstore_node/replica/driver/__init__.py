"""The loop that executes a `Ready`: persist, send, apply, answer, in that order."""
