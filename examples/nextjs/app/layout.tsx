import type { Metadata } from 'next'
import Link from 'next/link'
import { connection } from 'next/server'
import type { ReactNode } from 'react'
import { SignOut } from '@/components/sign-out'
import { SupabaseProvider } from '@/components/supabase-provider'
import { supabaseEnvironment } from '@/lib/supabase/environment'
import { serverClient, visitor } from '@/lib/supabase/server'
import './globals.css'

export const metadata: Metadata = { title: { default: 'Search', template: '%s · Search' }, description: 'Long-running searches, live.' }

export default async function Layout({ children }: { children: ReactNode }) {
  await connection()
  // The page shows what is wrong: the error of a layout would leave nothing to show it in.
  const user = await visitor(await serverClient()).catch(() => null)
  return (
    <html lang="en">
      <body className="font-sans antialiased">
        <SupabaseProvider environment={supabaseEnvironment()}>
          <header className="border-b border-line">
            <nav aria-label="Main" className="mx-auto flex max-w-6xl flex-wrap items-center gap-x-5 gap-y-1 px-4 py-3 text-sm">
              <Link href="/" className="font-semibold">
                Search
              </Link>
              {user && (
                <>
                  <Link href="/runs">History</Link>
                  {user.isAdmin && <Link href="/admin">Admin</Link>}
                  <SignOut email={user.email} />
                </>
              )}
            </nav>
          </header>
          <main className="mx-auto max-w-6xl px-4 py-6">{children}</main>
        </SupabaseProvider>
      </body>
    </html>
  )
}
