"""The worker: it claims runs, searches them site by site and saves what it finds."""
