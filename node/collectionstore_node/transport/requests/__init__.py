"""Requests and replies over a connection: client side and server side."""
