"""Makes the migrations and `supabase/SCHEMA.md` from `supabase/schemas/`."""
