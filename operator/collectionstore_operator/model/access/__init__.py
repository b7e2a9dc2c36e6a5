"""What is observed of access control, and what can be done about it. Pure."""
