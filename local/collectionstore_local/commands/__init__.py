"""The `csctl local` commands."""
