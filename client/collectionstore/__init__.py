"""Collection Store for its users: `csctl` and its report command; imports neither the operator nor a storage node."""
