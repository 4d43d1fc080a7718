'use client'

import { usePathname, useSearchParams } from 'next/navigation'
import { startTransition, useEffect, useOptimistic, useRef, useState } from 'react'
import { csvOf } from '@/lib/csv'
import { resultsQueryOf, type ResultsQuery } from '@/lib/results-query'
import { pageOfItems, type PageOfItems, type Run, type RunSite } from '@/lib/search'
import { messageOf } from '@/lib/words'
import { ResultsFilters } from './results-filters'
import { ResultsTable } from './results-table'
import { useSupabase } from './supabase-provider'
import { Button } from './ui/button'
import { Card, Empty, Problem } from './ui/card'

const CSV_PAGE = 100
const MAX_CSV_PAGES = 100

interface Props {
  run: Run
  sites: RunSite[]
  initialPage: PageOfItems
  initialQuery: ResultsQuery
}

/** What a run has found so far. Filters, sort and page are in the address. */
export function Results({ run, sites, initialPage, initialQuery }: Props) {
  const supabase = useSupabase()
  const path = usePathname()
  const params = useSearchParams()
  const [page, setPage] = useState(initialPage)
  const [problem, setProblem] = useState<string | null>(null)
  // Next.js changes the address in a transition. What was chosen shows at once.
  const [address, showAddress] = useOptimistic(params.toString())
  const query = resultsQueryOf(Object.fromEntries(new URLSearchParams(address)))

  // What the server has rendered of a run that has ended does not change any more.
  const version = versionOf(run, query)
  const rendered = useRef(run.completed_at && versionOf(run, initialQuery))
  useEffect(() => {
    if (version === rendered.current) return
    rendered.current = null
    let isCurrent = true
    pageOfItems(supabase, run.id, resultsQueryOf(Object.fromEntries(new URLSearchParams(address)))).then(
      (read) => {
        if (!isCurrent) return
        setPage(read)
        setProblem(null)
      },
      (failure) => isCurrent && setProblem(messageOf(failure)),
    )
    return () => {
      isCurrent = false
    }
  }, [supabase, run.id, version, address])

  /** Changes the address, without asking the server for the page. */
  function change(changes: Record<string, string | null>): void {
    const next = new URLSearchParams(address)
    if (!('page' in changes)) next.delete('page')
    for (const [name, value] of Object.entries(changes)) {
      if (value) next.set(name, value)
      else next.delete(name)
    }
    startTransition(() => {
      showAddress(next.toString())
      window.history.replaceState(null, '', `${path}${next.size ? `?${next}` : ''}`)
    })
  }

  async function download(): Promise<void> {
    setProblem(null)
    try {
      const { sort, filters } = query
      const items: PageOfItems['items'] = []
      for (let number = 1; number <= MAX_CSV_PAGES; number++) {
        const read = await pageOfItems(supabase, run.id, { page: number, perPage: CSV_PAGE, sort, filters })
        items.push(...read.items)
        if (!read.has_more) break
      }
      const link = document.createElement('a')
      link.href = URL.createObjectURL(new Blob([csvOf(items)], { type: 'text/csv;charset=utf-8' }))
      link.download = `search-${run.id}.csv`
      link.click()
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
    } catch (failure) {
      setProblem(messageOf(failure))
    }
  }

  const isFiltered = Object.keys(query.filters).length > 0
  return (
    <Card
      title={`Results (${page.total})`}
      actions={
        <Button size="small" onClick={download} disabled={!page.total}>
          Download CSV
        </Button>
      }
    >
      <ResultsFilters query={query} sites={sites.map(({ site }) => site)} onChange={change} />
      {problem && <Problem>{problem}</Problem>}
      {page.items.length ? (
        <ResultsTable runId={run.id} items={page.items} sort={query.sort} onSort={(sort) => change({ sort })} />
      ) : (
        <Empty>{isFiltered ? 'Nothing matches the filters.' : run.completed_at ? 'Nothing was found.' : 'Nothing is found yet.'}</Empty>
      )}
      {(page.total_pages > 1 || page.page > 1) && (
        <div className="mt-3 flex items-center justify-between gap-3 text-sm">
          <Button size="small" disabled={page.page <= 1} onClick={() => change({ page: String(page.page - 1) })}>
            Previous
          </Button>
          <span>
            Page {page.page} of {Math.max(1, page.total_pages)}
          </span>
          <Button size="small" disabled={!page.has_more} onClick={() => change({ page: String(page.page + 1) })}>
            Next
          </Button>
        </div>
      )}
    </Card>
  )
}

function versionOf({ items_found, status }: Run, query: ResultsQuery): string {
  return JSON.stringify([items_found, status, query])
}
