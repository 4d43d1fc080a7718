'use client'

import { useEffect, useState } from 'react'
import { insightsOf, type Insights } from '@/lib/search'
import { durationInWords } from '@/lib/words'
import { useSupabase } from './supabase-provider'
import { Card } from './ui/card'

interface Props {
  runId: string
  found: number
  hasEnded: boolean
  initial: Insights
}

/**
 * Facts to read while a search runs: how long its sites usually take, and what was found so far. They stay when it has
 * ended, so that the results below do not move.
 */
export function LoadingInsight({ runId, found, hasEnded, initial }: Props) {
  const supabase = useSupabase()
  const [insights, setInsights] = useState(initial)
  useEffect(() => {
    let isCurrent = true
    insightsOf(supabase, runId).then(
      (read) => isCurrent && setInsights(read),
      () => undefined, // the last facts stay
    )
    return () => {
      isCurrent = false
    }
  }, [supabase, runId, found, hasEnded])
  const facts = factsOf(insights, hasEnded)
  return (
    <Card title={hasEnded ? 'In short' : 'Meanwhile'} className="min-h-60 md:min-h-52">
      <ul className="flex list-disc flex-col gap-1 pl-5 text-sm">
        {facts.map((fact) => (
          <li key={fact}>{fact}</li>
        ))}
      </ul>
    </Card>
  )
}

const MAX_SITES = 3
const MIN_PAID = 4

function factsOf({ sites, pay, work_modes, organizations, skills }: Insights, hasEnded: boolean): string[] {
  const facts = (hasEnded ? [] : sites.slice(0, MAX_SITES)).map(({ site, usual_seconds }) =>
    usual_seconds === null ? `${site} is being searched.` : `${site} usually takes ${durationInWords(Math.max(1, usual_seconds) * 1000)}.`,
  )
  const often = organizations.filter(({ items }) => items > 1)
  if (often.length) facts.push(`Most offers: ${often.slice(0, 3).map(({ organization, items }) => `${organization} (${items})`).join(', ')}.`)
  for (const { currency, low, high, items } of pay.slice(0, 1).filter(({ items }) => items >= MIN_PAID)) {
    facts.push(`Half of the ${items} offers with pay are between ${Math.round(low).toLocaleString('en-GB')} and ${Math.round(high).toLocaleString('en-GB')} ${currency} a year.`)
  }
  const modes = Object.entries(work_modes).filter(([, count]) => count)
  if (modes.length) facts.push(`Places of work: ${modes.map(([mode, count]) => `${count} ${mode}`).join(', ')}.`)
  if (skills.length) facts.push(`Asked for most: ${skills.slice(0, 5).map(({ skill }) => skill).join(', ')}.`)
  return facts.length ? facts : [hasEnded ? 'There is too little to summarize.' : 'The search waits for a worker.']
}
