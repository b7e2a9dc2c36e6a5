"""The statuses of users and roles, and the condition of a cluster's access control. Pure."""
