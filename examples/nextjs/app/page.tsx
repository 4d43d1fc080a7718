import { Home } from '@/components/home'
import { searchOptions } from '@/lib/search'
import { serverClient, signedIn } from '@/lib/supabase/server'

export default async function Page() {
  const client = await serverClient()
  const user = await signedIn(client)
  return <Home userId={user.id} kinds={await searchOptions(client)} />
}
