"""One module per dashboard; each says what it shows, in the order in which its reader asks."""
