'use client'

import { createBrowserClient } from '@supabase/ssr'
import { createContext, useContext, useState, type ReactNode } from 'react'
import type { SearchClient } from '@/lib/search'
import type { Database } from '@/lib/search/database'
import type { SupabaseEnvironment } from '@/lib/supabase/environment'

const SupabaseContext = createContext<SearchClient | null>(null)

/** Gives the components below one client with the session of the visitor. */
export function SupabaseProvider({ environment, children }: { environment: SupabaseEnvironment; children: ReactNode }) {
  const [client] = useState<SearchClient>(() => createBrowserClient<Database>(environment.url, environment.key))
  return <SupabaseContext value={client}>{children}</SupabaseContext>
}

export function useSupabase(): SearchClient {
  const client = useContext(SupabaseContext)
  if (!client) throw new Error('useSupabase needs a SupabaseProvider above it')
  return client
}
