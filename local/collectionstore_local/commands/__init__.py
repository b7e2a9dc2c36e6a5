"""The commands `csctl local` and `csctl log-level`, and what `csctl report` gathers of a local cluster.

More modules than elsewhere: each is a group of commands or one form of output, and `cli.py` is read beside them.
"""
