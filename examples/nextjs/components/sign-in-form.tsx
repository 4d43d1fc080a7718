'use client'

import { useRouter } from 'next/navigation'
import { useState, type FormEvent } from 'react'
import { messageOf } from '@/lib/words'
import { useSupabase } from './supabase-provider'
import { Button } from './ui/button'
import { Problem } from './ui/card'
import { Field, Input } from './ui/field'

type Way = 'password' | 'sign-up' | 'link'

export function SignInForm() {
  const supabase = useSupabase()
  const router = useRouter()
  const [way, setWay] = useState<Way>('password')
  const [problem, setProblem] = useState<string | null>(null)
  const [notice, setNotice] = useState<string | null>(null)
  const [isBusy, setIsBusy] = useState(false)

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    const email = String(form.get('email'))
    const password = String(form.get('password') ?? '')
    setIsBusy(true)
    setProblem(null)
    setNotice(null)
    const problem = await signIn(email, password)
    setIsBusy(false)
    setProblem(problem)
  }

  async function signIn(email: string, password: string): Promise<string | null> {
    if (way === 'link') {
      const emailRedirectTo = `${location.origin}/auth/confirm`
      const { error } = await supabase.auth.signInWithOtp({ email, options: { emailRedirectTo } })
      if (!error) setNotice(`A link was sent to ${email}.`)
      return error && messageOf(error)
    }
    const answer = way === 'password' ? await supabase.auth.signInWithPassword({ email, password }) : await supabase.auth.signUp({ email, password })
    if (answer.error) return messageOf(answer.error)
    if (answer.data.session) {
      router.push('/')
      router.refresh()
    } else {
      setNotice(`A link was sent to ${email}. Open it to confirm the address.`)
    }
    return null
  }

  return (
    <form onSubmit={submit} className="flex flex-col gap-2">
      <Field id="email" label="E-mail address">
        <Input id="email" name="email" type="email" autoComplete="email" required />
      </Field>
      {way !== 'link' && (
        <Field id="password" label="Password">
          <Input id="password" name="password" type="password" autoComplete={way === 'password' ? 'current-password' : 'new-password'} minLength={6} required />
        </Field>
      )}
      {problem && <Problem>{problem}</Problem>}
      {notice && <p role="status" className="text-sm text-good">{notice}</p>}
      <Button type="submit" look="main" disabled={isBusy}>
        {way === 'password' ? 'Sign in' : way === 'sign-up' ? 'Create account' : 'Send a link'}
      </Button>
      <div className="flex flex-wrap gap-x-4 text-sm">
        {(['password', 'sign-up', 'link'] as const)
          .filter((other) => other !== way)
          .map((other) => (
            <button key={other} type="button" className="cursor-pointer py-1 text-accent underline" onClick={() => setWay(other)}>
              {other === 'password' ? 'Sign in with a password' : other === 'sign-up' ? 'Create an account' : 'Sign in with a link by e-mail'}
            </button>
          ))}
      </div>
    </form>
  )
}
