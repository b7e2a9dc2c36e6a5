"""The statuses of backups and schedules: conditions, what was achieved, and why something failed. Pure."""
