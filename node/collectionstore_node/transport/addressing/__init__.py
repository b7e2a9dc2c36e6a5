"""Where to dial a member: name resolution with learned addresses, and overrides for fault injection."""
