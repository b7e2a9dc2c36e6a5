"""What members ask of each other: incoming messages and requests, and commands forwarded to the leader."""
