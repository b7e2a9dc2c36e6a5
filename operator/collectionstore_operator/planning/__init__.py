"""The decisions: (desired, observed) -> Plan. Pure."""
