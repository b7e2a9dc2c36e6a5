"""What clients may hold while they are slow: answers not read, bodies not sent, requests in flight. Pure: no sockets.

- `sending.py`  bytes of answers that their clients have not taken yet
- `uploads.py`  bodies that are still arriving
- `clients.py`  what one address holds of all that
- `overdue.py`  connections whose bytes waited for too long in front of the parser
- `budgets.py`  all of them, for one port

Slow is told from idle by a rate over a window, never by one pause; who is slowest makes room when a budget is used up.
"""
