"""Who may do what: spec.access of a cluster, and the resources CollectionStoreUser and CollectionStoreRole. Pure."""
