"""The state directory of local clusters: every file that csctl, the supervisor and the fault proxy share.

It has many modules because each is one kind of file, with its own format and writer.
"""
