"""The images that run on the cluster: layers, OCI archives, and the image store of the nodes."""
