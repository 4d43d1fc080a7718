"""The part of Supabase Auth that clients use here: users, passwords, anonymous users, sessions and the admin API.

Statuses, codes and messages are those of https://github.com/supabase/auth (`internal/api`) at API version 2024-01-01,
with `mailer_autoconfirm` on: an e-mail address is confirmed at once.

A request goes to its endpoint in `api`, which reads it with `request_body` and checks its access token. `users` reads
and writes `auth.users`, with hashes from `passwords`; `sessions` begins, refreshes and ends sessions. `errors` has the
answer to a request that fails.
"""
