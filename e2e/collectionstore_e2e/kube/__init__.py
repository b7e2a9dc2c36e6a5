"""A real Kubernetes of three nodes in three zones, on one Linux machine, without an image registry.

Four *machines*, each a set of Linux namespaces: `control` runs etcd, the API server, its controllers, CoreDNS and the
volume provisioner; `node-1` to `node-3` run containerd, kubelet and kube-proxy. Killing the first process of a
machine's PID namespace kills every process in it, and the kernel releases its mounts and interfaces: so stopping the
cluster works from any state, and a node can fail as by a power failure.

    cli -> cluster -> addons | node -> images -> containerd | control_plane -> binaries | machines -> places, errors

`machines` are the namespaces, cgroups and networks; `images` are the images that run on the cluster.
"""
