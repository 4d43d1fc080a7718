import type { RunSite } from '@/lib/search'
import { timeInWords } from '@/lib/words'
import { SiteLabel } from './site-labels'
import { StatusBadge } from './ui/badge'
import { Card, Empty } from './ui/card'

interface SiteProgress {
  step?: string
  current?: number
  total?: number
  details?: { until?: string; message?: string }
}

/** The sites of a run: status, what they have found, and why they wait or have failed. */
export function RunSites({ sites }: { sites: RunSite[] }) {
  if (!sites.length) return <Empty>The sites are shown as soon as the search has them.</Empty>
  return (
    <Card title="Sites">
      <ul className="flex flex-col divide-y divide-line">
        {sites.map((site) => (
          <li key={site.site} className="grid grid-cols-[1fr_auto] gap-x-3 gap-y-1 py-2 text-sm sm:grid-cols-[10rem_7rem_6rem_1fr]">
            <span className="font-medium">
              <SiteLabel site={site.site} />
              {site.is_fallback && <span className="text-quiet"> (fallback)</span>}
            </span>
            <span>
              <StatusBadge status={site.status} />
            </span>
            <span className="col-span-2 flex gap-x-3 sm:contents">
              <span className="tabular-nums whitespace-nowrap">{site.jobs_found} found</span>
              <span className="text-quiet">{whatHappens(site)}</span>
            </span>
          </li>
        ))}
      </ul>
    </Card>
  )
}

function whatHappens({ status, progress, error_message }: RunSite): string {
  const { step, current, total, details } = progress as SiteProgress
  if (step === 'waiting') return `${details?.message ?? 'waits'}${details?.until ? ` (until ${timeInWords(details.until)} UTC)` : ''}`
  if (status !== 'running') return error_message ?? ''
  const count = current === undefined ? '' : ` ${current}${total === undefined ? '' : ` of ${total}`}`
  return `${step ?? 'searching'}${count}`
}
