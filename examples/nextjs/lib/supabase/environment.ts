/** Where Supabase is, and the key of users. Read when a page is rendered, so that one build serves every environment. */
export interface SupabaseEnvironment {
  url: string
  key: string
}

/** Returns the environment of the server, by the names that Supabase's integration for Vercel uses, too. */
export function supabaseEnvironment(): SupabaseEnvironment {
  const url = process.env.SUPABASE_URL ?? process.env.NEXT_PUBLIC_SUPABASE_URL
  const key =
    process.env.SUPABASE_ANON_KEY ??
    process.env.SUPABASE_PUBLISHABLE_KEY ??
    process.env.NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY ??
    process.env.NEXT_PUBLIC_SUPABASE_ANON_KEY
  if (!url || !key) throw new Error('SUPABASE_URL and SUPABASE_ANON_KEY (or SUPABASE_PUBLISHABLE_KEY) must be set.')
  return { url, key }
}
