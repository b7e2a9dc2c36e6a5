"""Wire format, pure: frames, their parser, handshake messages and their checks, send queues."""
