"""Supabase on one machine without Docker."""
