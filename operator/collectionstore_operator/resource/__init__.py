"""The custom resource: spec, defaults, validation rules, labels and names. Pure.

More modules than elsewhere: one for each field of the spec that has fields of its own, beside what all of them share.
"""
