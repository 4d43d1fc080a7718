"""The part of PostgREST that the clients of this project use."""
