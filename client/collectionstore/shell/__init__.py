"""The shell of csctl: its commands at a prompt, with history, completion and JSON over several lines."""
