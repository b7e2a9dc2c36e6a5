"""The harness of scenarios: client, namespace, waits on conditions, and diagnostics of failures.

runner -> scenario, evidence, context -> client, kubectl, machines -> waiting, kinds, errors
"""
