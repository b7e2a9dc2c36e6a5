"""Read-only access to the Kubernetes API server, with the extra `collectionstore[kubernetes]`."""
