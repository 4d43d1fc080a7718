// Where the links of e-mails lead. Supabase's template of the e-mail must have {{ .TokenHash }} in its link: see README.md.
import type { EmailOtpType } from '@supabase/supabase-js'
import { redirect } from 'next/navigation'
import type { NextRequest } from 'next/server'
import { serverClient } from '@/lib/supabase/server'

const TYPES: readonly string[] = ['email', 'signup', 'magiclink', 'recovery', 'invite', 'email_change']

export async function GET(request: NextRequest): Promise<Response> {
  const { searchParams } = request.nextUrl
  const tokenHash = searchParams.get('token_hash')
  const type = searchParams.get('type')
  const code = searchParams.get('code')
  const client = await serverClient()
  if (tokenHash && type && TYPES.includes(type)) {
    const { error } = await client.auth.verifyOtp({ token_hash: tokenHash, type: type as EmailOtpType })
    redirect(error ? '/sign-in?problem=link' : '/')
  }
  if (code) {
    const { error } = await client.auth.exchangeCodeForSession(code)
    redirect(error ? '/sign-in?problem=link' : '/')
  }
  redirect('/sign-in?problem=link')
}
