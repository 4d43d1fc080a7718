"""The worker: claims runs, searches them site by site and saves the results."""
