"""The verbs that operate a cluster, on Kubernetes and on this machine alike: `csctl` and `kubectl collectionstore`."""
