"""The custom resource: spec, defaults, validation rules, labels and names. Pure."""
