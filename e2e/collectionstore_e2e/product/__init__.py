"""The product as scenarios use it: the operator, installed by Helm, and clusters, as users see and change them.

installation, store -> helm
"""
