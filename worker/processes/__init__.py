"""Child processes and threads for work that would block the event loop."""
