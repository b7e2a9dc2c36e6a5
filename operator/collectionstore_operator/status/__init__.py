"""The status of the resource: conditions, plan, members and events. Pure.

More modules than elsewhere: a condition of some length has its own, and `conditions` puts them together.
"""
