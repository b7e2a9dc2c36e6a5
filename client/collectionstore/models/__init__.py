"""What users give and get: documents of their types, results, operations of a bulk. No I/O."""
