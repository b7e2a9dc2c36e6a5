"""Encryption at rest: the values of log and state, and snapshot files in transfer (docs/operate/encryption.md).

- `sealing`   seals and opens one value, under data keys that are in memory;
- `ring`      the data keys of a directory, in its file KEYS, wrapped by a key that is elsewhere;
- `sources`   where that key is: files of a mounted Secret, a command, or a service.
"""
