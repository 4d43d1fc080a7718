"""A local Supabase and played job boards, to try the worker and to test it.

`supabase` runs Supabase on this machine without Docker, `boards` plays the sites that the worker searches. Neither
knows the other, nor the worker. They share `errors` and `loopback`. `demo_servers` starts both, as `processes`.
`migration_files` knows where the migrations are, which the worker brings along.
"""
