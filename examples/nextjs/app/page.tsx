import { Home } from '@/components/home'
import { Problem } from '@/components/ui/card'
import { searchOptions } from '@/lib/search'
import { serverClient, signedIn } from '@/lib/supabase/server'
import { messageOf } from '@/lib/words'

export default async function Page() {
  const client = await serverClient()
  const user = await signedIn(client)
  try {
    return <Home userId={user.id} kinds={await searchOptions(client)} />
  } catch (error) {
    return <Problem>The search form cannot be shown: {messageOf(error)}</Problem>
  }
}
