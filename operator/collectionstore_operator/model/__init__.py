"""The data model of the planner: observed state, actions, and the assessment of a cluster. Pure.

More modules than elsewhere: one for each procedure that has facts or a record of its own, beside what all share.
"""
