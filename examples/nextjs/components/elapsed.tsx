'use client'

import { useEffect, useState } from 'react'
import { durationInWords } from '@/lib/words'

/** How long a run has taken so far. Only the browser knows what time it is: the server shows nothing. */
export function Elapsed({ since, until }: { since: string; until: string | null }) {
  const [now, setNow] = useState<number | null>(null)
  useEffect(() => {
    if (until) return
    const tick = () => setNow(Date.now())
    const first = setTimeout(tick)
    const timer = setInterval(tick, 1000)
    return () => {
      clearTimeout(first)
      clearInterval(timer)
    }
  }, [until])
  const end = until ? Date.parse(until) : now
  return <span className="tabular-nums">{end === null ? '' : durationInWords(end - Date.parse(since))}</span>
}
