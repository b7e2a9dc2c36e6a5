"""Hostile clients against a local cluster, beside a victim: an ordinary client that should not notice them.

`attacks/` holds the attacks, `runner` carries one out, `victim` and `members` measure it, `bounds` judges.
"""
