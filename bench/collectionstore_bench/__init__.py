"""Measures Collection Store on local clusters: load, lifecycle, and the cost of single features."""
