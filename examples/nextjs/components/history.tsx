'use client'

import Link from 'next/link'
import { useRouter } from 'next/navigation'
import { useState } from 'react'
import { cancel, deleteRun, rerun, type Run } from '@/lib/search'
import { useRuns } from '@/lib/search/react'
import { durationInWords, messageOf, parametersInWords, timeInWords, titleOf } from '@/lib/words'
import { useSiteLabels } from './site-labels'
import { useSupabase } from './supabase-provider'
import { Badge, StatusBadge } from './ui/badge'
import { Button } from './ui/button'
import { Empty, Problem } from './ui/card'
import { Input, Select } from './ui/field'

const STATUSES = ['pending', 'running', 'success', 'partial', 'failed', 'cancelled']

const RUNS_A_PAGE = 50

/** The newest runs of the user, live. */
export function History({ userId, initial }: { userId: string; initial: Run[] }) {
  const supabase = useSupabase()
  const [limit, setLimit] = useState(RUNS_A_PAGE)
  const { runs, error } = useRuns(supabase, userId, limit)
  const [status, setStatus] = useState('')
  const [words, setWords] = useState('')
  const [problem, setProblem] = useState<string | null>(null)
  const known = runs ?? initial
  const shown = known.filter((run) => (!status || run.status === status) && titleOf(run).toLowerCase().includes(words.toLowerCase()))
  return (
    <div className="flex flex-col gap-4">
      <h1 className="text-xl font-semibold">History</h1>
      <div className="grid grid-cols-2 gap-2 sm:flex">
        <Input aria-label="Words" placeholder="Words" value={words} onChange={(event) => setWords(event.target.value)} className="sm:w-52" />
        <Select aria-label="Status" value={status} onChange={(event) => setStatus(event.target.value)} className="sm:w-40">
          <option value="">Any status</option>
          {STATUSES.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </Select>
      </div>
      {(problem !== null || Boolean(error)) && <Problem>{problem ?? messageOf(error)}</Problem>}
      {shown.length === 0 && <Empty>{known.length ? 'No run matches.' : 'No search was started yet.'}</Empty>}
      <ul className="flex flex-col divide-y divide-line">
        {shown.map((run) => (
          <HistoryRow key={run.id} run={run} onProblem={setProblem} />
        ))}
      </ul>
      {known.length >= limit && (
        <Button className="self-start" onClick={() => setLimit(limit + RUNS_A_PAGE)}>
          Show older ones
        </Button>
      )}
    </div>
  )
}

function HistoryRow({ run, onProblem }: { run: Run; onProblem: (problem: string | null) => void }) {
  const supabase = useSupabase()
  const router = useRouter()
  const [isDeleted, setIsDeleted] = useState(false)
  const labels = useSiteLabels()
  const title = titleOf(run)

  async function attempt(act: () => Promise<void>): Promise<void> {
    onProblem(null)
    try {
      await act()
    } catch (failure) {
      onProblem(messageOf(failure))
    }
  }

  if (isDeleted) return null
  return (
    <li className="grid items-center gap-2 py-3 text-sm md:grid-cols-[1fr_auto]">
      <div className="flex flex-col gap-1">
        <span className="flex flex-wrap items-center gap-2">
          <Link href={`/runs/${run.id}`} className="font-medium text-accent underline">
            {title}
          </Link>
          <StatusBadge status={run.status} />
          {run.source !== 'manual' && <Badge>{run.source}</Badge>}
        </span>
        <span className="text-quiet">{parametersInWords(run, labels)}</span>
        <span className="text-quiet">
          {timeInWords(run.created_at)} UTC
          {run.completed_at && `, took ${durationInWords(Date.parse(run.completed_at) - Date.parse(run.created_at))}`}, {run.items_found} found, {run.new_items} new
        </span>
      </div>
      <div className="flex gap-2">
        <Button size="small" aria-label={`Search ${title} again`} onClick={() => attempt(async () => router.push(`/runs/${(await rerun(supabase, run.id)).id}`))}>
          Again
        </Button>
        {run.completed_at === null ? (
          <Button size="small" look="danger" aria-label={`Cancel ${title}`} onClick={() => attempt(async () => void (await cancel(supabase, run.id)))}>
            Cancel
          </Button>
        ) : (
          <Button
            size="small"
            look="danger"
            aria-label={`Delete ${title}`}
            onClick={() =>
              attempt(async () => {
                if (!window.confirm(`Delete this search and its results: ${title}?`)) return
                await deleteRun(supabase, run.id)
                setIsDeleted(true)
              })
            }
          >
            Delete
          </Button>
        )}
      </div>
    </li>
  )
}
