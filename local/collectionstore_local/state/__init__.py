"""The state directory of local clusters: every file that csctl, the supervisor and the fault proxy share."""
