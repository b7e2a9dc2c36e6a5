"""What the operator reports: status, conditions and events. Pure."""
