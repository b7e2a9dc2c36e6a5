"""What every csctl command shares: exit codes, error messages, options and terminal output."""
