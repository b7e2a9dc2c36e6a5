"""Load generators as separate programs that read the same keys and documents and report in one form.

`load` describes a run, `programs` the command lines of the generators and what they print, `running` runs one of them.
`wrk.lua` makes the requests of wrk, `pipelined` loads the stream; etcd-load is the Go program in `bench/go/etcd`.
"""
