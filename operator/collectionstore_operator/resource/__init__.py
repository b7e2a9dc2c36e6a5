"""The custom resource: spec, defaults, validation rules, labels and names. Pure.

More modules than elsewhere: each is a part of the spec, as users know it.
"""
