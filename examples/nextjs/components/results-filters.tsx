'use client'

import { useState } from 'react'
import type { ResultsQuery } from '@/lib/results-query'
import { useSiteLabels } from './site-labels'
import { Button } from './ui/button'
import { Input, Select } from './ui/field'

interface Props {
  query: ResultsQuery
  sites: string[]
  onChange: (changes: Record<string, string | null>) => void
}

export function ResultsFilters({ query: { filters, sort }, sites, onChange }: Props) {
  const labels = useSiteLabels()
  const [words, setWords] = useState(filters.words ?? '')
  return (
    <form
      role="search"
      aria-label="Filter the results"
      className="mb-3 grid grid-cols-2 items-center gap-2 text-sm sm:flex sm:flex-wrap"
      onSubmit={(event) => {
        event.preventDefault()
        onChange({ words })
      }}
    >
      <Input aria-label="Words" placeholder="Words" value={words} onChange={(event) => setWords(event.target.value)} className="sm:w-44" />
      <Select aria-label="Site" value={filters.site ?? ''} onChange={(event) => onChange({ site: event.target.value })} className="sm:w-36">
        <option value="">All sites</option>
        {sites.map((site) => (
          <option key={site} value={site}>
            {labels[site] ?? site}
          </option>
        ))}
      </Select>
      <Select aria-label="Place of work" value={filters.work_mode ?? ''} onChange={(event) => onChange({ mode: event.target.value })} className="sm:w-44">
        <option value="">Any place of work</option>
        <option value="remote">Remote</option>
        <option value="hybrid">Hybrid</option>
        <option value="onsite">On site</option>
      </Select>
      <Select aria-label="Sort" value={sort} onChange={(event) => onChange({ sort: event.target.value })} className="sm:w-48">
        <option value="found">As found</option>
        <option value="posted">Newest first</option>
        <option value="pay">Highest pay first</option>
      </Select>
      <label className="flex items-center gap-1">
        <input type="checkbox" className="size-4" checked={filters.is_new ?? false} onChange={(event) => onChange({ new: event.target.checked ? 'true' : null })} />
        New only
      </label>
      <Button type="submit" size="small">
        Filter
      </Button>
    </form>
  )
}
