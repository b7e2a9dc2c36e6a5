"""What scenarios are given: a client, a namespace of their own, waits on conditions, and evidence when they fail.

runner -> scenario, evidence, context -> client, kubectl, machines -> waiting, kinds, errors
"""
