"""Connections of clients: what HTTP messages may look like, how fast they must come, and which hosts they may name.

- `server.py`      makes connections, and looks after slow ones
- `connection.py`  one connection, a subclass of aiohttp's, which parses
- `outgoing.py`    the half of it that writes
- `surroundings.py`  what the connections of a server share
- `intake.py`      how much is taken in during one turn of the event loop, and what waited too long for it
- `checks.py`      what aiohttp's parser lets pass and this server refuses. Pure
- `hosts.py`       the names under which the server may be addressed. Pure
"""
