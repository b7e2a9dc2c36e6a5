"""What makes calls succeed: who is asked, attempts and deadlines, watches that go on, what is kept alive."""
