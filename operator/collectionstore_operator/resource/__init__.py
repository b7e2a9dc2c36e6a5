"""The CollectionStoreCluster resource: fields, defaults, bounds, rules and names. Pure."""
