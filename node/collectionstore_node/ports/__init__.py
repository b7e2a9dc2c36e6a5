"""Listening ports: who may connect, and how many descriptors that may take. Knows neither HTTP nor the store.

- `acceptor.py`     accepts connections, before TLS, and survives a process without free descriptors
- `admission.py`    the bounds of a port: connections, and connections of one address. Pure
- `descriptors.py`  raises the limit of the process and divides it among storage and ports
- `protocol.py`     a connection that a port can count and close
"""

from collectionstore_node.ports.acceptor import Listening, MakePort, Port, PortMetrics, Uncounted
from collectionstore_node.ports.admission import LOOPBACK, Admission, PortLimits, network_of
from collectionstore_node.ports.descriptors import Descriptors, divide, raise_limit
from collectionstore_node.ports.protocol import PortProtocol

__all__ = [
    "LOOPBACK",
    "Admission",
    "Descriptors",
    "Listening",
    "MakePort",
    "Port",
    "PortLimits",
    "PortMetrics",
    "PortProtocol",
    "Uncounted",
    "divide",
    "network_of",
    "raise_limit",
]
