"""The audit logs of members: `verification.py` checks their chains, `commands.py` is `csctl audit`.

The format is that of docs/reference/audit.md. Needs nothing but the standard library, so that an auditor can check a
log without the cluster, and read what checks it.
"""
