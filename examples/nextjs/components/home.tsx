'use client'

import Link from 'next/link'
import type { KindOptions } from '@/lib/search'
import { useRuns, useSavedSearches } from '@/lib/search/react'
import { titleOf } from '@/lib/words'
import { SavedSearches } from './saved-searches'
import { SearchForm } from './search-form'
import { useSupabase } from './supabase-provider'
import { Card } from './ui/card'
import { StatusBadge } from './ui/badge'

/** The search form, the searches that run now on any device, and the saved searches. */
export function Home({ userId, kinds }: { userId: string; kinds: KindOptions[] }) {
  const supabase = useSupabase()
  const { runs } = useRuns(supabase, userId)
  const saved = useSavedSearches(supabase, userId)
  const active = (runs ?? []).filter((run) => run.completed_at === null)
  return (
    <div className="grid items-start gap-6 lg:grid-cols-[3fr_2fr]">
      <div>
        <h1 className="sr-only">Search</h1>
        <SearchForm kinds={kinds} onSaved={saved.reload} />
      </div>
      <div className="flex flex-col gap-6">
        <Card title="Running now" aria-live="polite">
          {active.length === 0 ? (
            <p className="text-sm text-quiet">{runs ? 'No search is running.' : 'Loading …'}</p>
          ) : (
            <ul className="flex flex-col gap-2">
              {active.map((run) => (
                <li key={run.id} className="flex items-center justify-between gap-3 text-sm">
                  <Link href={`/runs/${run.id}`} className="truncate text-accent underline">
                    {titleOf(run)}
                  </Link>
                  <span className="flex items-center gap-2">
                    <span className="tabular-nums">{run.items_found} found</span>
                    <StatusBadge status={run.status} />
                  </span>
                </li>
              ))}
            </ul>
          )}
        </Card>
        <SavedSearches {...saved} />
      </div>
    </div>
  )
}
