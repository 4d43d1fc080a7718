"""Access to Supabase for the worker and for users: PostgREST, Auth and Realtime."""
