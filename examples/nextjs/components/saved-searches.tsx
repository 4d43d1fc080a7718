'use client'

import Link from 'next/link'
import { useRouter } from 'next/navigation'
import { useState } from 'react'
import { deleteSavedSearch, markSeen, pauseSchedule, runSavedSearch, type SavedSearchState } from '@/lib/search'
import { messageOf, parametersInWords, timeInWords, titleOf } from '@/lib/words'
import { DAYS, ScheduleForm } from './schedule-form'
import { useSiteLabels } from './site-labels'
import { useSupabase } from './supabase-provider'
import { Badge, StatusBadge } from './ui/badge'
import { Button } from './ui/button'
import { Card, Empty, Problem } from './ui/card'

interface Props {
  searches: SavedSearchState[] | null
  error: unknown
  reload: () => void
}

/** The saved searches: when they are repeated, what is new, and what can be done with them. */
export function SavedSearches({ searches, error, reload }: Props) {
  const supabase = useSupabase()
  const [problem, setProblem] = useState<string | null>(null)
  const hasNews = searches?.some(({ new_items }) => new_items)

  async function seen(): Promise<void> {
    try {
      await markSeen(supabase)
      reload()
    } catch (failure) {
      setProblem(messageOf(failure))
    }
  }

  return (
    <Card title="Saved searches" actions={hasNews && <Button size="small" onClick={seen}>Mark as seen</Button>}>
      {(error || problem) && <Problem>{problem ?? messageOf(error)}</Problem>}
      {!searches && !error && <p className="text-sm text-quiet">Loading …</p>}
      {searches?.length === 0 && <Empty>No search is saved. Fill in the form, give it a name, and save it.</Empty>}
      <ul className="flex flex-col divide-y divide-line">
        {searches?.map((saved) => (
          <SavedSearchRow key={saved.id} saved={saved} reload={reload} onProblem={setProblem} />
        ))}
      </ul>
    </Card>
  )
}

function SavedSearchRow({ saved, reload, onProblem }: { saved: SavedSearchState; reload: () => void; onProblem: (problem: string | null) => void }) {
  const supabase = useSupabase()
  const router = useRouter()
  const labels = useSiteLabels()
  const [isEditing, setIsEditing] = useState(false)

  async function attempt(act: () => Promise<void>): Promise<void> {
    onProblem(null)
    try {
      await act()
    } catch (failure) {
      onProblem(messageOf(failure))
    }
  }

  const runNow = () => attempt(async () => router.push(`/runs/${(await runSavedSearch(supabase, saved.id)).id}`))
  const pause = (isPaused: boolean) =>
    attempt(async () => {
      await pauseSchedule(supabase, saved.id, isPaused)
      reload()
    })
  const remove = () =>
    attempt(async () => {
      if (!window.confirm(`Delete the saved search ${saved.name}? Its runs stay.`)) return
      await deleteSavedSearch(supabase, saved.id)
      reload()
    })

  return (
    <li className="flex flex-col gap-2 py-3 text-sm">
      <div className="flex items-center justify-between gap-2">
        <span className="font-medium">{saved.name}</span>
        {Boolean(saved.new_items) && <Badge tone="accent">{saved.new_items} new</Badge>}
      </div>
      <p className="text-quiet">{[titleOf(saved), parametersInWords(saved, labels)].filter(Boolean).join(' · ')}</p>
      <p className="text-quiet">{scheduleInWords(saved)}</p>
      {saved.last_run_id && saved.last_status && (
        <p>
          <Link href={`/runs/${saved.last_run_id}`} className="text-accent underline">
            Last run
          </Link>{' '}
          <StatusBadge status={saved.last_status} /> {saved.last_items_found} found
        </p>
      )}
      <div className="flex flex-wrap gap-2">
        <Button size="small" onClick={runNow} aria-label={`Run now: ${saved.name}`}>
          Run now
        </Button>
        <Button size="small" onClick={() => setIsEditing(!isEditing)} aria-expanded={isEditing}>
          Schedule
        </Button>
        {saved.times && (
          <Button size="small" onClick={() => pause(!saved.paused)}>
            {saved.paused ? 'Resume' : 'Pause'}
          </Button>
        )}
        <Button size="small" look="danger" onClick={remove} aria-label={`Delete ${saved.name}`}>
          Delete
        </Button>
      </div>
      {isEditing && (
        <ScheduleForm
          saved={saved}
          onDone={() => {
            setIsEditing(false)
            reload()
          }}
        />
      )}
    </li>
  )
}

const PAUSES: Record<string, string> = {
  user: 'Paused',
  inactive: 'Paused, because you were away',
  failing: 'Paused, because the last runs failed',
  invalid: 'Paused, because the search is not valid any more',
}

function scheduleInWords({ times, weekdays, time_zone, paused, paused_reason, next_slot_at }: SavedSearchState): string {
  if (!times || !weekdays || !time_zone) return 'Not repeated'
  const days = weekdays.length === DAYS.length ? 'Every day' : weekdays.map((day) => DAYS[day - 1]).join(', ')
  const at = `${days} at ${times.map((time) => time.slice(0, 5)).join(', ')} (${time_zone})`
  if (paused) return `${PAUSES[paused] ?? 'Paused'}: ${paused_reason ?? at}`
  return `${at}; next ${timeInWords(next_slot_at, time_zone)}`
}
