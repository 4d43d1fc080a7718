import type { RealtimeChannel } from '@supabase/supabase-js'
import type { SearchClient } from './client'

/** Pauses between two readings, in milliseconds: without hints, and with them. After failures they grow from the first. */
const SHORT = 3_000
const LONG = 30_000

/** How long one reading may take, in milliseconds. */
const TIMEOUT = 10_000

let channels = 0

/**
 * Calls `read` now, and again whenever rows of a table may have changed, until the returned function is called.
 *
 * Realtime gives the hint. It can be slow to join, lose its socket, close its channel when a token expires, or be
 * joined and silent. So `read` is also called by a timer: often while Realtime gives no hints, seldom once it does.
 *
 * @param read Reads the rows; returns whether they have changed since it was last called. It is never called twice at
 *   the same time. What it throws goes to `onError`, unless the returned function was called meanwhile. Hints do not
 *   shorten the pause after a failure.
 */
export function followChanges(
  client: SearchClient,
  { table, filter }: { table: string; filter: string },
  read: (signal: AbortSignal) => Promise<boolean>,
  onError: (error: unknown) => void,
): () => void {
  let isStopped = false
  let channel: RealtimeChannel | undefined
  let failedJoins = 0
  let failedReads = 0
  let isReading = false
  let isHinted = false
  let isReadAgain = false
  let pause = SHORT
  let timer: ReturnType<typeof setTimeout> | undefined
  let joinTimer: ReturnType<typeof setTimeout> | undefined
  const stopped = new AbortController()

  async function readNow(): Promise<void> {
    if (isReading) {
      isReadAgain = true
      return
    }
    clearTimeout(timer)
    isReading = true
    try {
      do {
        isReadAgain = false
        await readOnce()
      } while (isReadAgain && failedReads === 0 && !isStopped)
    } finally {
      isReading = false
      if (!isStopped) timer = setTimeout(readNow, pause)
    }
  }

  async function readOnce(): Promise<void> {
    const wasHinted = isHinted
    isHinted = false
    try {
      const hasChanged = await read(AbortSignal.any([stopped.signal, AbortSignal.timeout(TIMEOUT)]))
      failedReads = 0
      // A change without a hint: Realtime is silent.
      pause = !hasChanged ? Math.min(pause * 1.5, LONG) : wasHinted ? LONG : SHORT
    } catch (error) {
      pause = Math.min(SHORT * 2 ** failedReads++, LONG)
      if (!isStopped) onError(error)
    }
  }

  async function join(): Promise<void> {
    // The token may have been refreshed since the last channel was closed.
    await client.realtime.setAuth()
    if (isStopped) return
    const joined = client
      // Two channels of one name would be the same channel.
      .channel(`${table}-${++channels}`)
      .on('postgres_changes', { event: '*', schema: 'public', table, filter }, () => {
        isHinted = true
        if (failedReads === 0) void readNow()
      })
      // Changes before this message are not sent.
      .on('system', {}, ({ status }: { status: string }) => {
        if (status === 'ok') {
          failedJoins = 0
          void readNow()
        }
      })
    channel = joined
    joined.subscribe((status) => {
      if (status !== 'SUBSCRIBED' && channel === joined) rejoin()
    })
  }

  function rejoin(): void {
    leave()
    if (isStopped) return
    joinTimer = setTimeout(() => void join().catch(rejoin), Math.min(1_000 * 2 ** failedJoins++, LONG))
  }

  function leave(): void {
    const left = channel
    channel = undefined
    if (left) void client.removeChannel(left)
  }

  void readNow()
  void join().catch(rejoin)
  return () => {
    isStopped = true
    stopped.abort()
    clearTimeout(timer)
    clearTimeout(joinTimer)
    leave()
  }
}
