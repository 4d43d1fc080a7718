import type { Metadata } from 'next'
import Link from 'next/link'
import { notFound } from 'next/navigation'
import { AdminRunList } from '@/components/admin/run-list'
import { AutoRefresh } from '@/components/admin/auto-refresh'
import { IncidentList } from '@/components/admin/incident-list'
import { OverviewCharts } from '@/components/admin/overview-charts'
import { OverviewFigures } from '@/components/admin/overview-figures'
import { ExitTable, QualityTable, QuotaTable, SiteTable, WorkerTable } from '@/components/admin/tables'
import { WebhookPanel } from '@/components/admin/webhook-panel'
import { Card } from '@/components/ui/card'
import { adminQueryOf, PERIODS, sinceOf } from '@/lib/admin-query'
import { adminExits, adminIncidents, adminOverview, adminQuality, adminQuotas, adminRuns, adminSites, adminWebhooks, adminWorkers, searchOptions, siteLabelsOf } from '@/lib/search'
import { serverClient, signedIn } from '@/lib/supabase/server'

export const metadata: Metadata = { title: 'Admin' }

export default async function Page({ searchParams }: { searchParams: Promise<Record<string, string | string[] | undefined>> }) {
  const client = await serverClient()
  const user = await signedIn(client)
  // The database refuses others as well: this only says that there is no such page for them.
  if (!user.isAdmin) notFound()
  const query = adminQueryOf(await searchParams)
  const since = sinceOf(query.period)
  const [overview, sites, exits, workers, incidents, quality, quotas, webhooks, runs, kinds] = await Promise.all([
    adminOverview(client, since),
    adminSites(client, since),
    adminExits(client),
    adminWorkers(client),
    adminIncidents(client),
    adminQuality(client, since),
    adminQuotas(client),
    adminWebhooks(client),
    adminRuns(client, query.runs),
    searchOptions(client),
  ])
  const labels = siteLabelsOf(kinds)
  return (
    <div className="flex flex-col gap-6">
      <div className="flex flex-wrap items-center gap-4">
        <h1 className="text-xl font-semibold">Admin</h1>
        <nav aria-label="Period" className="flex gap-3 text-sm">
          {PERIODS.map(({ name, label }) => (
            <Link key={name} href={`/admin?period=${name}`} aria-current={name === query.period ? 'page' : undefined} className="py-1 text-accent underline aria-[current]:font-semibold aria-[current]:no-underline">
              {label}
            </Link>
          ))}
        </nav>
        <AutoRefresh seconds={15} />
      </div>
      <IncidentList incidents={incidents} />
      <OverviewFigures overview={overview} activity={workers} />
      <OverviewCharts overview={overview} sites={sites} labels={labels} />
      <Card title="Workers">
        <WorkerTable activity={workers} />
      </Card>
      <Card title="Sites">
        <SiteTable sites={sites} labels={labels} />
      </Card>
      <Card title="Exits">
        <ExitTable exits={exits} labels={labels} />
      </Card>
      <Card title="Quotas">
        <QuotaTable quotas={quotas} />
      </Card>
      <Card title="Runs">
        <AdminRunList runs={runs} query={query} sites={sites.map(({ site }) => site)} labels={labels} />
      </Card>
      <Card title="Data quality">
        <QualityTable quality={quality} labels={labels} />
      </Card>
      <Card title="Webhooks">
        <WebhookPanel webhooks={webhooks} />
      </Card>
    </div>
  )
}
