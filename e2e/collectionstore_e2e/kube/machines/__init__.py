"""Machines as sets of Linux namespaces: processes, cgroups and networks."""
