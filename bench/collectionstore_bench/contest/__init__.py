"""Stores under the same load in interleaved rounds: etcd (`make bench`), or an older commit (`make bench-compare`).

`cases` lists what is measured, `stores` says what a store has to offer, `etcd_cluster` and `our_cluster` run them,
`contenders` are a store and a protocol, `turns` measures, `summary` computes medians and ratios, `report` prints them,
`results` keeps them, `options` and `__main__` are the command.
"""
