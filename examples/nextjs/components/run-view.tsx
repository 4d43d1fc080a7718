'use client'

import { useRouter } from 'next/navigation'
import { useState } from 'react'
import type { ResultsQuery } from '@/lib/results-query'
import { cancel, rerun, type Insights, type PageOfItems, type RunState } from '@/lib/search'
import { useRun } from '@/lib/search/react'
import { messageOf, parametersInWords, timeInWords, titleOf } from '@/lib/words'
import { Elapsed } from './elapsed'
import { LoadingInsight } from './loading-insight'
import { Results } from './results'
import { RunSites } from './run-sites'
import { useSiteLabels } from './site-labels'
import { useSupabase } from './supabase-provider'
import { StatusBadge } from './ui/badge'
import { Button } from './ui/button'
import { Problem } from './ui/card'
import { Progress } from './ui/progress'

interface Props {
  initial: RunState
  initialPage: PageOfItems
  initialQuery: ResultsQuery
  initialInsights: Insights
}

/** A run: how far it is, its sites, and what it has found, live until it ends. */
export function RunView({ initial, initialPage, initialQuery, initialInsights }: Props) {
  const supabase = useSupabase()
  const router = useRouter()
  const labels = useSiteLabels()
  const { state, error } = useRun(supabase, initial.run.id)
  const [problem, setProblem] = useState<string | null>(null)
  const { run, sites } = state ?? initial
  const hasEnded = run.completed_at !== null
  const total = run.progress_total ?? 0
  const share = hasEnded && run.status !== 'cancelled' ? 100 : total ? Math.floor((100 * run.progress_current) / total) : 0

  async function attempt(act: () => Promise<void>): Promise<void> {
    setProblem(null)
    try {
      await act()
    } catch (failure) {
      setProblem(messageOf(failure))
    }
  }

  return (
    <div className="flex flex-col gap-6">
      {/* On a phone, the buttons have a line of their own: it stays when one of them goes. */}
      <div className="flex flex-col gap-3 sm:flex-row sm:items-center">
        <div className="flex min-w-0 flex-wrap items-center gap-3">
          <h1 className="text-xl font-semibold">{titleOf(run)}</h1>
          <StatusBadge status={run.status} />
        </div>
        <div className="flex gap-2 sm:ml-auto">
          {!hasEnded && (
            <Button look="danger" onClick={() => attempt(async () => void (await cancel(supabase, run.id)))}>
              Cancel
            </Button>
          )}
          <Button onClick={() => attempt(async () => router.push(`/runs/${(await rerun(supabase, run.id)).id}`))}>Search again</Button>
        </div>
      </div>
      <p className="-mt-4 text-sm text-quiet">{parametersInWords(run, labels)}</p>
      {problem && <Problem>{problem}</Problem>}
      {Boolean(error) && <Problem>The run cannot be read at the moment: {messageOf(error)}</Problem>}
      <section aria-label="Progress" className="flex flex-col gap-2">
        <Progress value={share} label="Progress of the search" />
        <p className="flex min-h-5 flex-wrap gap-x-4 text-sm text-quiet" aria-live="polite">
          {/* When it is full, the count also has what the sites did not have. */}
          {share < 100 && (
            <span>
              fetched {run.progress_current} of {total} ({share} %)
            </span>
          )}
          <span>
            {run.items_found} found, {run.new_items} new
          </span>
          <Elapsed since={run.created_at} until={run.completed_at} />
          {run.run_after && <span>continues at {timeInWords(run.run_after)} UTC</span>}
          {(run.leader_run_id || run.shared_run_id) && <span>shared with an equal search</span>}
        </p>
        {run.error_message && !sites.some(({ error_message }) => error_message) && <p className="text-sm text-warn">{run.error_message}</p>}
      </section>
      <RunSites sites={sites} />
      <LoadingInsight run={run} sites={sites} initial={initialInsights} />
      <Results run={run} sites={sites} initialPage={initialPage} initialQuery={initialQuery} />
    </div>
  )
}
