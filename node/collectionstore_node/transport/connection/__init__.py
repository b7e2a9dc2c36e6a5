"""One authenticated WebSocket: dialing, handshake, reading, writing, pings, closing."""
