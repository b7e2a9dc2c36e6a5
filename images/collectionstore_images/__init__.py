"""Builds the container images of node and operator, and lists their contents."""
