"""JSON documents as text for people and programs: tables, JSON, YAML, NDJSON and CSV. Pure."""
