"""One module per dashboard; each lists its panels in reading order."""
