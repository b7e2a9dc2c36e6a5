"""The product as scenarios use it: the operator, installed by Helm, and clusters, changed as users do.

installation, store -> helm
"""
