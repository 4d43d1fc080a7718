import type { Metadata } from 'next'
import { History } from '@/components/history'
import { runs } from '@/lib/search'
import { serverClient, signedIn } from '@/lib/supabase/server'

export const metadata: Metadata = { title: 'History' }

export default async function Page() {
  const client = await serverClient()
  const user = await signedIn(client)
  return <History userId={user.id} initial={await runs(client)} />
}
