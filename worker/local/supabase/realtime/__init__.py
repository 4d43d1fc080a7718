"""The part of Realtime that the clients of this project use."""
