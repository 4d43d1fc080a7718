"""The part of PostgREST 14 that supabase-py and supabase-js use.

A request goes through these modules: `api` receives it. `api_request` reads it without the database: the role from
`claims`, the `query` string (`select`, `conditions`, `fields`), `ranges`, `preferences`, `media_types` and the `body`.
`catalog` begins the transaction with that role, and finds the table or the function (`schema`). The query string
becomes a tree of `resources`, with the `relationships` of embeds, or is answered with `not_found`. `read_plan` turns
the tree into SQL, `statement` makes the one statement that answers the request, and `response` makes the HTTP
response. Postgres decides what is allowed, and writes the JSON.

What PostgREST answers and this package does not is refused with `errors.unsupported`; docs/local-supabase.md lists it.
"""
