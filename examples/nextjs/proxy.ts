// Refreshes the session before a page is rendered: pages cannot set cookies.
import { createServerClient } from '@supabase/ssr'
import { NextResponse, type NextRequest } from 'next/server'
import { supabaseEnvironment } from './lib/supabase/environment'

export const config = {
  matcher: ['/((?!api/|_next/|favicon.ico|.*\\.(?:svg|png|ico)$).*)'],
}

export async function proxy(request: NextRequest): Promise<NextResponse> {
  let response = NextResponse.next({ request })
  const { url, key } = supabaseEnvironment()
  const client = createServerClient(url, key, {
    cookies: {
      getAll: () => request.cookies.getAll(),
      setAll: (changed, headers) => {
        for (const { name, value } of changed) request.cookies.set(name, value)
        response = NextResponse.next({ request })
        for (const { name, value, options } of changed) response.cookies.set(name, value, options)
        for (const [name, value] of Object.entries(headers)) response.headers.set(name, value)
      },
    },
  })
  await client.auth.getClaims()
  return response
}
