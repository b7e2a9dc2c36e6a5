"""The data model of the planner: observed state, actions, and the assessment of a cluster. Pure."""
