"""What is observed of backups and schedules, what can be done about them, and what a run has said. Pure."""
