"""An experiment: hostile users and a hostile board try to slow down an honest user."""
