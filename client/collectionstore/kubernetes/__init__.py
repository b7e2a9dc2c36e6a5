"""Access to the Kubernetes API server, with the extra `collectionstore[kubernetes]`."""
