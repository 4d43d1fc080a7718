"""Supabase on this machine, without Docker: a real PostgreSQL, and one HTTP server for REST, Auth and Realtime.

`command` runs `stack`, which starts `postgres`, applies the `migrations` and serves the `gateway`. A request arrives at
the gateway, which checks its API key and passes it on by its path: to `rest` (PostgREST), `auth` (Supabase Auth) or
`realtime` (Supabase Realtime). `tokens` signs and verifies the tokens for all of them. `faulty_gateway` stands in front
of the gateway in tests of outages.
"""
