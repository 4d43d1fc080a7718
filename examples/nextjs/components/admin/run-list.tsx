import Link from 'next/link'
import { RUN_STATUSES, type AdminQuery } from '@/lib/admin-query'
import type { AdminRun, AdminRuns, SiteLabels } from '@/lib/search'
import { durationInWords, timeInWords } from '@/lib/words'
import { StatusBadge } from '../ui/badge'
import { Button, buttonStyle } from '../ui/button'
import { Empty } from '../ui/card'
import { Input, Select } from '../ui/field'

/** The runs of all users that match, each with its sites and its timeline. The filters are a form: they need no script. */
export function AdminRunList({ runs: { runs, next }, query, sites, labels }: { runs: AdminRuns; query: AdminQuery; sites: string[]; labels: SiteLabels }) {
  const { status, site, error_code } = query.runs
  const filters = { period: query.period, status: status?.[0], site, error: error_code }
  const nextPage = next && `/admin?${new URLSearchParams(Object.entries({ ...filters, ...next }).filter((entry): entry is [string, string] => Boolean(entry[1])))}`
  return (
    <>
      <form action="/admin" className="mb-3 flex flex-wrap gap-2">
        <input type="hidden" name="period" value={query.period} />
        <Select name="status" aria-label="Status" defaultValue={filters.status ?? ''} className="w-36">
          <option value="">Any status</option>
          {RUN_STATUSES.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </Select>
        <Select name="site" aria-label="Site" defaultValue={site ?? ''} className="w-36">
          <option value="">All sites</option>
          {sites.map((name) => (
            <option key={name} value={name}>
              {labels[name] ?? name}
            </option>
          ))}
        </Select>
        <Input name="error" aria-label="Error code" placeholder="Error code" defaultValue={error_code ?? ''} className="w-36" />
        <Button type="submit">Filter</Button>
      </form>
      {runs.length === 0 && <Empty>No run matches.</Empty>}
      <ul className="flex flex-col divide-y divide-line">
        {runs.map((run) => (
          <li key={run.id}>
            <RunDetails run={run} labels={labels} />
          </li>
        ))}
      </ul>
      {nextPage && (
        <Link href={nextPage} className={buttonStyle({ size: 'small', className: 'mt-3' })}>
          Next
        </Link>
      )}
    </>
  )
}

function RunDetails({ run, labels }: { run: AdminRun; labels: SiteLabels }) {
  return (
    <details className="py-2 text-sm">
      <summary className="flex cursor-pointer flex-wrap items-center gap-x-3 gap-y-1">
        <span className="font-medium">{String(run.parameters.search_term ?? run.kind)}</span>
        <StatusBadge status={run.status} />
        <span className="text-quiet">
          {run.email ?? 'deleted user'}, {run.source}, {timeInWords(run.created_at)} UTC, {run.items_found} found
        </span>
        {run.error_code && <span className="text-bad">{run.error_code}</span>}
      </summary>
      <div className="mt-2 grid gap-4 rounded-md bg-raised p-3 md:grid-cols-2">
        <div>
          <h3 className="font-medium">Sites</h3>
          <ul>
            {run.sites.map((site) => (
              <li key={site.site}>
                {labels[site.site] ?? site.site}: {site.status}, {site.jobs_found} found, {site.attempts} {site.attempts === 1 ? 'attempt' : 'attempts'} {site.error_message && `– ${site.error_message}`}
              </li>
            ))}
          </ul>
          <p className="mt-2 break-all text-quiet">{run.id}</p>
        </div>
        <div>
          <h3 className="font-medium">Timeline</h3>
          <ol>
            {run.events.map((event, index) => (
              <li key={index} className="tabular-nums">
                +{durationInWords(Date.parse(event.at) - Date.parse(run.created_at))} {event.event} {event.site && (labels[event.site] ?? event.site)}
              </li>
            ))}
          </ol>
        </div>
      </div>
    </details>
  )
}
