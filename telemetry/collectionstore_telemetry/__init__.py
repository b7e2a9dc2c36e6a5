"""Logging, traces, profiles and metrics: what every program of Collection Store observes itself with.

Knows no program: names of services, log events and series are passed in. Imports none of the other packages.
"""
