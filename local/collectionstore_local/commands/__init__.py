"""The commands `csctl local` and `csctl log-level`, and what `csctl report` gathers of a local cluster."""
