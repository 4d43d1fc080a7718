import { Home } from '@/components/home'
import { SiteLabelsProvider } from '@/components/site-labels'
import { searchOptions, siteLabelsOf } from '@/lib/search'
import { serverClient, signedIn } from '@/lib/supabase/server'

export default async function Page() {
  const client = await serverClient()
  const user = await signedIn(client)
  const kinds = await searchOptions(client)
  return (
    <SiteLabelsProvider labels={siteLabelsOf(kinds)}>
      <Home userId={user.id} kinds={kinds} />
    </SiteLabelsProvider>
  )
}
