"""End-to-end tests: a real Kubernetes on this machine, and scenarios that run there or on any other cluster.

`kube/` builds, starts and stops the cluster; `harness/` gives scenarios a client, a namespace, waits and evidence;
`scenarios/` are the tests. `harness` knows of `kube` only what scenarios do to machines; `kube` knows nothing above it.
"""
