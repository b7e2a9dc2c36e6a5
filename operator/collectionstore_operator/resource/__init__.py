"""The custom resource: spec, defaults, validation rules, labels and names. Pure.

More modules than elsewhere: each larger field of the spec has its own, from which its part of the schema is generated.
"""
