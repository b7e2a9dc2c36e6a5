"""The objects that work for backups and schedules: Jobs, the Deployment of an archive, NetworkPolicies. Pure."""
