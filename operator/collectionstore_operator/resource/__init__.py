"""The custom resource: spec, defaults, validation rules, labels and names. Pure.

More modules than elsewhere: each is one field of the spec with everything below it, and is read beside `spec.py`.
"""
