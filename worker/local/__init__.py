"""Supabase on one machine without Docker: to try the worker, and to test it."""
