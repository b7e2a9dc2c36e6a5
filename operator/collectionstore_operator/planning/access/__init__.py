"""What is to be done for users and roles, and for the access control of a cluster. Pure."""
