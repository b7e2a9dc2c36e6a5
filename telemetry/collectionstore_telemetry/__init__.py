"""What the programs of Collection Store share: logs, traces, profiles and metric recorders."""
