// Fires the schedules that are due. Vercel calls it with `Authorization: Bearer $CRON_SECRET`, as vercel.json says; it
// may do so twice, or late. Each slot is decided once, also while others fire schedules.
import { createClient } from '@supabase/supabase-js'
import type { Database } from '../../../lib/search/database'

export const maxDuration = 30

const MIN_SECRET_LENGTH = 16
const FIRE_MS = 5_000
const REQUEST_MS = 10_000
const CALLS_PER_MINUTE = 6

interface Fired {
  started: number
  skipped: number
  paused: number
  next_in_seconds: number | null
}

export async function GET(request: Request): Promise<Response> {
  const secret = process.env.CRON_SECRET
  if (!secret || secret.length < MIN_SECRET_LENGTH) {
    return answer(500, { error: `CRON_SECRET must be set, with at least ${MIN_SECRET_LENGTH} characters.` })
  }
  if (!(await areEqual(request.headers.get('authorization') ?? '', `Bearer ${secret}`))) {
    return answer(401, { error: 'The header Authorization is wrong.' })
  }
  // After the secret: calls of strangers do not keep out the one that counts.
  const waitSeconds = secondsUntilAllowed(Date.now())
  if (waitSeconds > 0) {
    return answer(429, { error: `At most ${CALLS_PER_MINUTE} calls a minute.` }, { 'Retry-After': `${waitSeconds}` })
  }
  try {
    return answer(200, await fire())
  } catch (error) {
    console.error('Schedules could not be fired:', error)
    return answer(502, { error: 'Schedules could not be fired. The log has the reason.' })
  }
}

/** Fires until nothing is due or the time has expired; then next_in_seconds is 0, and the next call continues. */
async function fire(): Promise<Fired> {
  const url = process.env.SUPABASE_URL ?? process.env.NEXT_PUBLIC_SUPABASE_URL
  const key = process.env.SUPABASE_SERVICE_ROLE_KEY ?? process.env.SUPABASE_SECRET_KEY
  if (!url || !key) throw new Error('SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY must be set')
  const supabase = createClient<Database>(url, key, { auth: { persistSession: false, autoRefreshToken: false } })
  const total: Fired = { started: 0, skipped: 0, paused: 0, next_in_seconds: null }
  const end = Date.now() + FIRE_MS
  let decided: number
  do {
    const { data, error } = await supabase.rpc('worker_fire_schedules').abortSignal(AbortSignal.timeout(REQUEST_MS))
    if (error) throw error
    const fired = data as unknown as Fired
    decided = fired.started + fired.skipped + fired.paused
    total.started += fired.started
    total.skipped += fired.skipped
    total.paused += fired.paused
    total.next_in_seconds = fired.next_in_seconds
    // What is due and was not decided is being decided by another caller.
  } while (total.next_in_seconds === 0 && decided > 0 && Date.now() < end)
  return total
}

/** Compares in a time that depends on neither text: digests have one length, and all of their bytes are compared. */
async function areEqual(given: string, expected: string): Promise<boolean> {
  const [one, other] = await Promise.all([digest(given), digest(expected)])
  let difference = 0
  for (const [index, byte] of one.entries()) difference |= byte ^ other[index]!
  return difference === 0
}

async function digest(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)))
}

// Of this instance. It keeps a caller that repeats itself from the database; a second instance does no harm.
let recentCalls: number[] = []

function secondsUntilAllowed(now: number): number {
  recentCalls = recentCalls.filter((at) => now - at < 60_000)
  if (recentCalls.length < CALLS_PER_MINUTE) {
    recentCalls.push(now)
    return 0
  }
  return Math.ceil((recentCalls[0]! + 60_000 - now) / 1000)
}

function answer(status: number, body: object, headers: Record<string, string> = {}): Response {
  return Response.json(body, { status, headers: { ...headers, 'Cache-Control': 'no-store' } })
}
