// Gets the events of the webhook endpoint that leads here (docs/webhooks.md), and sends the user an e-mail about new
// results. A message may come more than once: its id is the idempotency key of the e-mail.
import { createClient } from '@supabase/supabase-js'
import { Webhook } from 'standardwebhooks'
import { sendEmail } from '@/lib/email'
import type { Database } from '@/lib/search/database'

export const maxDuration = 15

const MAX_BODY_BYTES = 100_000
const REQUEST_MS = 5_000

interface NewItems {
  type: 'search.new_items'
  data: { run_id: string; user_id: string; saved_search_id: string | null; new_items: number }
}

type Message = NewItems | { type: string; data: unknown }

export async function POST(request: Request): Promise<Response> {
  const body = await boundedBody(request)
  if (body === null) return answer(413, `The message has more than ${MAX_BODY_BYTES} bytes.`)
  const headers = Object.fromEntries(['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => [name, request.headers.get(name) ?? '']))
  const message = verified(body, headers)
  if (!message) return answer(401, 'The signature is wrong.')
  try {
    if (isNewItems(message)) await announce(message, headers['webhook-id']!)
    return answer(200, 'Accepted.')
  } catch (error) {
    // Any other status than 2xx: the message is sent again later.
    console.error('The message could not be handled:', error)
    return answer(503, 'The message could not be handled.')
  }
}

/** Returns the body, or null if it is too long. What is too long is not read to its end: its signature is checked later. */
async function boundedBody(request: Request): Promise<string | null> {
  if (Number(request.headers.get('content-length')) > MAX_BODY_BYTES) return null
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of request.body ?? []) {
    length += chunk.byteLength
    if (length > MAX_BODY_BYTES) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Returns the message if one of the secrets has signed it. While secrets are rotated there are two, with a comma. */
function verified(body: string, headers: Record<string, string>): Message | null {
  const secrets = (process.env.SEARCH_WEBHOOK_SECRET ?? '').split(',').map((secret) => secret.trim())
  for (const secret of secrets.filter(Boolean)) {
    try {
      return new Webhook(secret).verify(body, headers) as Message
    } catch {
      // The other secret may fit.
    }
  }
  return null
}

function isNewItems(message: Message): message is NewItems {
  return message.type === 'search.new_items'
}

async function announce({ data }: NewItems, id: string): Promise<void> {
  const url = process.env.SUPABASE_URL ?? process.env.NEXT_PUBLIC_SUPABASE_URL
  const key = process.env.SUPABASE_SERVICE_ROLE_KEY ?? process.env.SUPABASE_SECRET_KEY
  if (!url || !key) throw new Error('SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY must be set.')
  const client = createClient<Database>(url, key, { auth: { persistSession: false, autoRefreshToken: false } })
  const found = await client.auth.admin.getUserById(data.user_id)
  if (found.error) throw found.error
  const email = found.data.user.email
  if (!email) return
  const saved = await client.from('saved_searches').select('name').eq('id', data.saved_search_id ?? data.run_id).abortSignal(AbortSignal.timeout(REQUEST_MS)).maybeSingle()
  const name = saved.data?.name ?? 'your search'
  const count = data.new_items === 1 ? '1 new result' : `${data.new_items} new results`
  await sendEmail({ to: email, subject: `${count}: ${name}`, text: `${name} has found ${count}.\n\n${siteUrl()}/runs/${data.run_id}?new=true\n` }, id)
}

/** Where the app is for its users. The address of the request is not it: behind a proxy, the server has another name. */
function siteUrl(): string {
  const { SITE_URL, VERCEL_PROJECT_PRODUCTION_URL } = process.env
  const url = SITE_URL ?? (VERCEL_PROJECT_PRODUCTION_URL && `https://${VERCEL_PROJECT_PRODUCTION_URL}`)
  if (!url) throw new Error('SITE_URL must be set.')
  return url.replace(/\/$/, '')
}

function answer(status: number, text: string): Response {
  return Response.json({ message: text }, { status, headers: { 'Cache-Control': 'no-store' } })
}
