"""How a client is configured: options, connection strings, credentials, where they are found. Pure but for files."""
