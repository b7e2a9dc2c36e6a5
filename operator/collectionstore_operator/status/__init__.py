"""The status of the resource: conditions, plan, members and events. Pure.

More modules than elsewhere: each condition that takes more than some lines has its own, and `conditions` puts them together.
"""
