"""Recorded client operations and the linearizability check; needs only aiohttp, msgspec and orjson."""
