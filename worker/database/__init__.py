"""Supabase, as the worker and its users reach it: PostgREST, Auth and Realtime."""
