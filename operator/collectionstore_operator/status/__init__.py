"""The status of the resource: conditions, plan, members and events. Pure."""
