"""What the planner works on: observed state, actions, and the assessment of a cluster. Pure."""
