"""The planner: (desired, observed) -> Plan. Pure."""
