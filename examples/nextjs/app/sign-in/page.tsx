import type { Metadata } from 'next'
import { redirect } from 'next/navigation'
import { SignInForm } from '@/components/sign-in-form'
import { Problem } from '@/components/ui/card'
import { serverClient, visitor } from '@/lib/supabase/server'

export const metadata: Metadata = { title: 'Sign in' }

export default async function SignIn({ searchParams }: { searchParams: Promise<{ problem?: string }> }) {
  if (await visitor(await serverClient())) redirect('/')
  const { problem } = await searchParams
  return (
    <div className="mx-auto flex max-w-sm flex-col gap-4">
      <h1 className="text-xl font-semibold">Sign in</h1>
      {problem === 'link' && <Problem>The link is not valid any more. Ask for a new one.</Problem>}
      <SignInForm />
    </div>
  )
}
