"""Compares the local gateway with a real PostgREST, request by request."""
