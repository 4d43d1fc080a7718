import type { Metadata } from 'next'
import { History } from '@/components/history'
import { SiteLabelsProvider } from '@/components/site-labels'
import { runs, searchOptions, siteLabelsOf } from '@/lib/search'
import { serverClient, signedIn } from '@/lib/supabase/server'

export const metadata: Metadata = { title: 'History' }

export default async function Page() {
  const client = await serverClient()
  const user = await signedIn(client)
  const [initial, kinds] = await Promise.all([runs(client), searchOptions(client)])
  return (
    <SiteLabelsProvider labels={siteLabelsOf(kinds)}>
      <History userId={user.id} initial={initial} />
    </SiteLabelsProvider>
  )
}
