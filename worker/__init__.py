"""Supabase-native worker for long-running searches."""
