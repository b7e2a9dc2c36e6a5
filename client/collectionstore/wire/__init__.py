"""What goes over the wire, without any I/O: operations of a stream, requests of HTTP, answers of both."""
