"""Aggregation: pipelines of stages over the documents of a collection, as in MongoDB.

`parse_pipeline` checks a request; `Pipeline` begins with a `Find`, so that what serves queries serves it too, and its
stages are generators over documents, one file for each family.
"""

from collectionstore_node.query.aggregation.pipeline import Pipeline, items_of, parse_pipeline
from collectionstore_node.query.aggregation.stage import Source
from collectionstore_node.query.aggregation.work import Items, Work

__all__ = ["Items", "Pipeline", "Source", "Work", "items_of", "parse_pipeline"]
