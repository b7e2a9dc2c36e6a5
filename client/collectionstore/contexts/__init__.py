"""Which cluster a command is about, by which credentials: the file of contexts, and the way to each kind of cluster."""
