"""The verbs that operate a cluster, on Kubernetes and on this machine alike: `csctl` and `kubectl collectionstore`.

Many modules, as each group of verbs has its own: what one prints and asks for is of no use to another.
"""
