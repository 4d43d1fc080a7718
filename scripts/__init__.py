"""What people run by hand, and CI."""
