"""The decisions about backups and schedules: what was concluded in, actions out. Pure."""
