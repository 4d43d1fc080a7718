"""Supabase and job boards on one machine, to try the worker and to test it."""
