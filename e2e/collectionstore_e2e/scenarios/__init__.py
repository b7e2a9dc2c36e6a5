"""The scenarios; each module is a subject, each declared function a test of its own."""
