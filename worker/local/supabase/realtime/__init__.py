"""The parts of Supabase Realtime that clients use: `postgres_changes` and Broadcast.

A client opens a `socket`. Its messages are read by `messages`; a `join` makes a `channel` with the `identity` of its
token. `server` then checks the channel's `bindings`, with their `filters`, against the published tables.

A change goes the other way: `stream` receives the WAL, `wal` decodes it, and `delivery` finds the channels for each
change. `published_table` applies filters and row level security, once a `snapshot` sees the commit. It writes what
somebody receives as JSON with the SQL of `columns`, and leaves out long values if the change exceeds the limit in
`record_size`. The channel sends the result.

`broadcasts` come from a channel, from `http`, or from the database (`database_messages`), and go to all channels of
their topic. For private ones, `policies` decides who may read and write.
"""
