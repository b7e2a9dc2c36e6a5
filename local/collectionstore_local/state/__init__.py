"""The state folder of local clusters."""
