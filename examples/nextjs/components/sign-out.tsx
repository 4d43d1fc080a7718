'use client'

import { useRouter } from 'next/navigation'
import { Button } from './ui/button'
import { useSupabase } from './supabase-provider'

export function SignOut({ email }: { email: string }) {
  const supabase = useSupabase()
  const router = useRouter()

  async function signOut(): Promise<void> {
    await supabase.auth.signOut({ scope: 'local' })
    router.push('/sign-in')
    router.refresh()
  }

  return (
    <div className="ml-auto flex items-center gap-3">
      <span className="hidden text-quiet sm:inline">{email}</span>
      <Button size="small" onClick={signOut}>
        Sign out
      </Button>
    </div>
  )
}
