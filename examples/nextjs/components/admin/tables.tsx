import type { Activity, AdminExit, AdminQuality, AdminQuota, AdminSite, Limits, SiteLabels } from '@/lib/search'
import { durationInWords, percent, secondsInWords, timeInWords } from '@/lib/words'
import { Badge } from '../ui/badge'
import { Table } from '../ui/table'

export function WorkerTable({ activity: { now, workers } }: { activity: Activity }) {
  const rows = workers.map((worker) => ({
    key: worker.worker_id,
    cells: [
      worker.worker_id,
      worker.version,
      `${worker.running} of ${worker.concurrency}`,
      `${timeInWords(worker.started_at)} UTC`,
      `${durationInWords(Date.parse(now) - Date.parse(worker.seen_at))} ago`,
    ],
  }))
  return <Table caption="Workers" heads={['Worker', 'Version', 'Running', 'Started', 'Seen']} rows={rows} empty="No worker lives." />
}

const STATES = { closed: 'good', half_open: 'warn', open: 'bad' } as const

export function SiteTable({ sites, labels }: { sites: AdminSite[]; labels: SiteLabels }) {
  const rows = sites.map((site) => ({
    key: site.site,
    cells: [
      // Operators need its name, too: for commands and settings.
      <span key="site">
        {labels[site.site] ?? site.site}
        <span className="block text-xs text-quiet">{site.site}</span>
      </span>,
      <span key="state" className="flex flex-col items-start gap-1">
        <Badge tone={STATES[site.state as keyof typeof STATES] ?? 'quiet'}>{site.state}</Badge>
        {site.paused_until && <span className="text-xs text-quiet">until {timeInWords(site.paused_until)} UTC</span>}
      </span>,
      site.searches.toLocaleString('en-GB'),
      percent(site.success_rate),
      `${secondsInWords(site.duration_p50)} / ${secondsInWords(site.duration_p95)}`,
      site.requests.toLocaleString('en-GB'),
      `${site.items.toLocaleString('en-GB')}, ${site.new_items.toLocaleString('en-GB')} new`,
      percent(site.invalid_share),
      Object.entries(site.errors)
        .map(([code, count]) => `${code} ${count}`)
        .join(', '),
      site.limits.flatMap((limits) => limitsInWords(site.site, limits)).join('; ') || 'none',
      site.quotas.map(({ bucket, quota, quota_used }) => `${bucket}: ${quota_used} of ${quota}`).join(', '),
    ],
  }))
  const heads = ['Site', 'Breaker', 'Searches', 'Completed', 'p50 / p95', 'Requests', 'Found', 'Invalid', 'Errors', 'Limits', 'Quotas']
  return <Table caption="Sites" heads={heads} rows={rows} empty="No site was searched." />
}

export function ExitTable({ exits, labels }: { exits: AdminExit[]; labels: SiteLabels }) {
  const rows = exits.map((exit) => ({
    key: `${exit.exit} ${exit.site}`,
    cells: [
      exit.exit,
      labels[exit.site] ?? exit.site,
      <span key="state" className="flex flex-col items-start gap-1">
        <Badge tone={STATES[exit.state]}>{exit.state !== 'closed' && exit.paused_by === 'exit_failed' ? 'does not work' : exit.state}</Badge>
        {exit.paused_until && <span className="text-xs text-quiet">until {timeInWords(exit.paused_until)} UTC</span>}
      </span>,
      percent(exit.success_rate),
      exit.response_ms === null ? '' : `${Math.round(exit.response_ms).toLocaleString('en-GB')} ms`,
      exit.requests.toLocaleString('en-GB'),
      exit.refused.toLocaleString('en-GB'),
      `${(exit.bytes / 1e6).toFixed(1)} MB`,
    ],
  }))
  const heads = ['Exit', 'Site', 'Breaker', 'Success', 'Response', 'Requests today', 'Refused', 'Received']
  return <Table caption="Exits" heads={heads} rows={rows} empty="No site was asked." />
}

function limitsInWords(site: string, limits: Limits): string[] {
  const parts = [
    limits.message,
    limits.requests && `${limits.requests} requests in ${limits.period_seconds} s`,
    limits.min_delay_seconds && `${limits.min_delay_seconds} s between two`,
    limits.quota && `${limits.quota} a ${limits.quota_period}`,
    limits.searches && `${limits.searches} at once`,
    limits.searches_per_account && `${limits.searches_per_account} at once through an account`,
  ].filter(Boolean)
  const name = limits.bucket.slice(site.length + 1)
  return parts.length ? [`${name ? `${name}: ` : ''}${parts.join(', ')}`] : []
}

export function QuotaTable({ quotas }: { quotas: AdminQuota[] }) {
  const rows = quotas.map((quota) => ({
    key: `${quota.site} ${quota.bucket}`,
    cells: [
      quota.bucket,
      `${quota.used.toLocaleString('en-GB')} of ${quota.quota.toLocaleString('en-GB')} (${percent(quota.used_share)})`,
      quota.resets_at ? `${timeInWords(quota.resets_at)} UTC` : '',
      quota.users.map(({ email, user_id, used }) => `${email ?? user_id}: ${used}`).join(', '),
    ],
  }))
  return <Table caption="Quotas" heads={['Quota of', 'Used', 'Begins again', 'By']} rows={rows} empty="No site has a quota that is used." />
}

export function QualityTable({ quality, labels }: { quality: AdminQuality[]; labels: SiteLabels }) {
  const rows = quality.slice(0, 100).map((day) => ({
    key: `${day.day} ${day.site} ${day.source}`,
    cells: [
      day.day,
      labels[day.site] ?? day.site,
      day.pages.toLocaleString('en-GB'),
      day.failed_pages.toLocaleString('en-GB'),
      day.items.toLocaleString('en-GB'),
      percent(day.invalid_share),
      Object.entries(day.completeness)
        .map(([field, share]) => `${field} ${percent(share)}`)
        .join(', '),
    ],
  }))
  return <Table caption="Data quality" heads={['Day', 'Site', 'Pages', 'Failed', 'Items', 'Invalid', 'Fields']} rows={rows} empty="No page was read." />
}
