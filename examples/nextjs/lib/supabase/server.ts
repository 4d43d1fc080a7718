import { createServerClient } from '@supabase/ssr'
import { isAuthRetryableFetchError } from '@supabase/supabase-js'
import { cookies } from 'next/headers'
import { redirect } from 'next/navigation'
import type { SearchClient } from '@/lib/search'
import type { Database } from '@/lib/search/database'
import { supabaseEnvironment } from './environment'

/** A client with the session of the visitor. */
export async function serverClient(): Promise<SearchClient> {
  const { url, key } = supabaseEnvironment()
  const store = await cookies()
  return createServerClient<Database>(url, key, {
    cookies: {
      getAll: () => store.getAll(),
      setAll: (changed) => {
        try {
          for (const { name, value, options } of changed) store.set(name, value, options)
        } catch {
          // A page cannot set cookies. proxy.ts has refreshed the session before the page is rendered.
        }
      },
    },
  })
}

export interface Visitor {
  id: string
  email: string
  isAdmin: boolean
}

/**
 * The signed-in user, or null; without an answer of Supabase Auth, this throws. The rights are those of the token, as for
 * the database: a new role counts with the next token.
 */
export async function visitor(client: SearchClient): Promise<Visitor | null> {
  const { data, error } = await client.auth.getClaims()
  if (isAuthRetryableFetchError(error)) throw error
  if (!data) return null
  const { sub, email, app_metadata } = data.claims
  return { id: sub, email: email ?? '', isAdmin: app_metadata?.role === 'admin' }
}

/** The signed-in user. Without one, the visitor is sent to the page where one signs in. */
export async function signedIn(client: SearchClient): Promise<Visitor> {
  return (await visitor(client)) ?? redirect('/sign-in')
}
