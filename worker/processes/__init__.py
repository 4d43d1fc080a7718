"""Child processes and threads: what would block or burden the event loop runs there."""
