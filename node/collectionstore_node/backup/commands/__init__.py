"""The commands: each parses its arguments, runs within its deadline, and prints."""
