"""The planner: (desired, observed) -> Plan. Pure.

More modules than elsewhere: each proposes one kind of step, and `plan.py`, which orders them all, is read beside them.
"""
