"""Wire format, pure: frames, handshake messages and their checks, send queues."""
