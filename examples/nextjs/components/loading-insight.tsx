'use client'

import { useEffect, useState } from 'react'
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
  const statuses = sites.map(({ status }) => status).join()
  useEffect(() => {
    let isCurrent = true
    insightsOf(supabase, run.id).then(
      (read) => isCurrent && setInsights(read),
      () => undefined, // the last facts stay
    )
    return () => {
      isCurrent = false
    }
  }, [supabase, run.id, run.items_found, run.status, statuses])
  const facts = [timeOf(run, insights, labels), foundOf(insights), ...(run.kind === 'jobs' ? offersOf(insights) : [])]
  return (
    <Card title={run.completed_at ? 'In short' : 'Meanwhile'}>
      <dl className="grid grid-cols-2 gap-x-4 gap-y-3 text-sm md:grid-cols-3">
        {facts.map(([name, value], index) => (
          <div key={name} className={index < 2 ? undefined : 'col-span-2 md:col-span-1'}>
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

type Fact = [name: string, value: string]

const MAX_NAMED = 3
const MAX_SKILLS = 5
const MIN_PAID = 4

function timeOf({ created_at, completed_at, status }: Run, { sites }: Insights, labels: SiteLabels): Fact {
  if (completed_at) return ['Time taken', durationInWords(Date.parse(completed_at) - Date.parse(created_at))]
  const known = sites.flatMap(({ site, usual_seconds }) => (usual_seconds === null ? [] : [`${labels[site] ?? site} ${durationInWords(Math.max(1, usual_seconds) * 1000)}`]))
  return ['Usual time', known.slice(0, MAX_NAMED).join(', ') || (status === 'pending' ? 'waits for a worker' : '')]
}

function foundOf({ found, new: fresh }: Insights): Fact {
  return ['Found', found ? `${found.toLocaleString('en-GB')}, ${fresh.toLocaleString('en-GB')} of them new` : '']
}

function offersOf({ pay, organizations, work_modes, skills }: Insights): Fact[] {
  const often = organizations.filter(({ items }) => items > 1).slice(0, MAX_NAMED)
  const [most] = pay.filter(({ items }) => items >= MIN_PAID)
  const modes = Object.entries(work_modes).filter(([, count]) => count)
  return [
    ['Most offers', often.map(({ organization, items }) => `${organization} (${items})`).join(', ')],
    ['Pay', most ? `${rounded(most.low)} – ${rounded(most.high)} ${most.currency} a year (half of ${most.items} offers)` : ''],
    ['Place of work', modes.map(([mode, count]) => `${count} ${mode}`).join(', ')],
    ['Asked for most often', skills.slice(0, MAX_SKILLS).map(({ skill }) => skill).join(', ')],
  ]
}

function rounded(amount: number): string {
  return Math.round(amount).toLocaleString('en-GB')
}
