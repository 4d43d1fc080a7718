"""What hostile users and a hostile board do to an honest user."""
