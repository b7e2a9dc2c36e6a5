"""One authenticated connection: dialing, handshake, what is sent when, pings, closing.

dialer.py handshake_exchange.py local_node.py
                   from an address to a connection; hello and welcome as WebSocket messages
connection.py      `Connection`: what is sent when, pings, silence, the reason it ended
channel.py         the port to what carries frames
stream_channel.py  frames on the TLS connection itself
websocket_channel.py
                   frames as WebSocket messages, with older versions
takeover.py        takes a TLS connection from aiohttp
close_reason.py    why a connection closed
"""
