'use client'

import { useEffect, useRef, useState } from 'react'
import { insightsOf, type Insights, type Run, type RunSite, type SiteLabels } from '@/lib/search'
import { durationInWords } from '@/lib/words'
import { useSiteLabels } from './site-labels'
import { useSupabase } from './supabase-provider'
import { Card } from './ui/card'

interface Props {
  run: Run
  sites: RunSite[]
  initial: Insights
}

/**
 * Facts to read while a search runs: how long its sites usually take, and what was found so far. Each has its place from
 * the start, also when the run has ended, so that the results below do not move.
 */
export function LoadingInsight({ run, sites, initial }: Props) {
  const supabase = useSupabase()
  const labels = useSiteLabels()
  const [insights, setInsights] = useState(initial)
  // What the server has rendered of a run that has ended does not change any more.
  const version = [run.items_found, run.status, ...sites.map(({ status }) => status)].join()
  const rendered = useRef(run.completed_at && version)
  useEffect(() => {
    if (version === rendered.current) return
    let isCurrent = true
    insightsOf(supabase, run.id).then(
      (read) => isCurrent && setInsights(read),
      () => undefined, // the last facts stay
    )
    return () => {
      isCurrent = false
    }
  }, [supabase, run.id, version])
  const facts = [timeOf(run, insights, labels), foundOf(insights), ...(run.kind === 'jobs' ? offersOf(insights) : [])]
  return (
    <Card title={run.completed_at ? 'In short' : 'Meanwhile'}>
      <dl className="grid grid-cols-2 gap-x-4 gap-y-3 text-sm md:grid-cols-3">
        {facts.map(({ name, value, isWide }) => (
          <div key={name} className={isWide ? 'col-span-2 md:col-span-1' : undefined}>
            <dt className="text-xs text-quiet">{name}</dt>
            <dd className="line-clamp-2 h-10" title={value}>
              {value || <span className="text-quiet">{run.completed_at ? 'too little is known' : 'not known yet'}</span>}
            </dd>
          </div>
        ))}
      </dl>
    </Card>
  )
}

interface Fact {
  name: string
  value: string
  /** It has a line of its own on a phone. */
  isWide?: boolean
}

const MAX_NAMED = 3
const MAX_SKILLS = 5
const MIN_PAID = 4

function timeOf({ created_at, completed_at, status }: Run, { sites }: Insights, labels: SiteLabels): Fact {
  if (completed_at) return { name: 'Time taken', value: durationInWords(Date.parse(completed_at) - Date.parse(created_at)) }
  const known = sites.flatMap(({ site, usual_seconds }) => (usual_seconds === null ? [] : [`${labels[site] ?? site} ${durationInWords(Math.max(1, usual_seconds) * 1000)}`]))
  return { name: 'Usual time', value: known.slice(0, MAX_NAMED).join(', ') || (status === 'pending' ? 'waits for a worker' : '') }
}

function foundOf({ found, new: fresh }: Insights): Fact {
  return { name: 'Found', value: found ? `${found.toLocaleString('en-GB')}, ${fresh.toLocaleString('en-GB')} of them new` : '' }
}

function offersOf({ pay, organizations, work_modes, skills }: Insights): Fact[] {
  const often = organizations.filter(({ items }) => items > 1).slice(0, MAX_NAMED)
  const [most] = pay.filter(({ items }) => items >= MIN_PAID)
  const modes = Object.entries(work_modes).filter(([, count]) => count)
  return [
    { name: 'Most offers', value: often.map(({ organization, items }) => `${organization} (${items})`).join(', '), isWide: true },
    { name: 'Pay', value: most ? `half of ${most.items}: ${rounded(most.low)} – ${rounded(most.high)} ${most.currency} a year` : '' },
    { name: 'Place of work', value: modes.map(([mode, count]) => `${count} ${mode}`).join(', ') },
    { name: 'Asked for most often', value: skills.slice(0, MAX_SKILLS).map(({ skill }) => skill).join(', '), isWide: true },
  ]
}

function rounded(amount: number): string {
  return Math.round(amount).toLocaleString('en-GB')
}
