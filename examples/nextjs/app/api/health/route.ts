// For an outside monitor: 200 while searches run, 503 if no worker lives or runs wait for too long. It says nothing else.
import { createClient } from '@supabase/supabase-js'
import type { Database } from '@/lib/search/database'
import { supabaseEnvironment } from '@/lib/supabase/environment'

const REQUEST_MS = 5_000

export async function GET(): Promise<Response> {
  const isHealthy = await isSearchHealthy()
  return Response.json({ is_healthy: isHealthy }, { status: isHealthy ? 200 : 503, headers: { 'Cache-Control': 'no-store' } })
}

async function isSearchHealthy(): Promise<boolean> {
  try {
    const { url, key } = supabaseEnvironment()
    const client = createClient<Database>(url, key, { auth: { persistSession: false, autoRefreshToken: false } })
    const { data, error } = await client.rpc('search_health').abortSignal(AbortSignal.timeout(REQUEST_MS))
    if (error) throw error
    return (data as { is_healthy: boolean }).is_healthy
  } catch (error) {
    console.error('The health of the search cannot be read:', error)
    return false
  }
}
