"""The cost of a feature, measured on two clusters in turns: `metrics` and `tracing` are the commands."""
