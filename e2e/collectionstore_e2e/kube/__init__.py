"""A real Kubernetes of three nodes in three zones, on one Linux machine, without an image registry.

Four *machines*, each a set of Linux namespaces: `control` runs etcd, the API server, its controllers, CoreDNS and the
volume provisioner; `node-1` to `node-3` run containerd, kubelet and kube-proxy. Killing the first process of a
machine's PID namespace ends everything in it, and the kernel takes its mounts and interfaces back: so stopping the
cluster works from any state, and a node can die as by a power cut.

    cli -> cluster -> addons | node -> images -> containerd | control_plane -> binaries | machines -> places, errors

`machines` are the namespaces, cgroups and networks; `images` are the images that run on the cluster.
"""
