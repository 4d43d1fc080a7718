"""The PostgreSQL server of a local stack: one data folder, one child process, nothing left behind.

`Postgres.start` in `server` goes through these steps: `binaries` finds the programs and their version, `account` gives
the system user that the server runs as, `cluster` makes the data folder, `server` starts the process and waits until
it accepts connections, and `bootstrap.sql` creates what a new Supabase project has.
"""

from worker.local.supabase.postgres.binaries import embedded_binaries
from worker.local.supabase.postgres.server import ADMINISTRATOR, Postgres

__all__ = ["ADMINISTRATOR", "Postgres", "embedded_binaries"]
