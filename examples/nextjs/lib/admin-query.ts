// What the address of the admin page says: the period, and which runs are listed.
import type { adminRuns } from './search'

type RunFilters = Parameters<typeof adminRuns>[1]

export const PERIODS = [
  { name: '24h', label: '24 hours', hours: 24 },
  { name: '7d', label: '7 days', hours: 7 * 24 },
  { name: '30d', label: '30 days', hours: 30 * 24 },
] as const

export type Period = (typeof PERIODS)[number]['name']

export interface AdminQuery {
  period: Period
  runs: RunFilters
}

export const RUN_STATUSES = ['pending', 'running', 'success', 'partial', 'failed', 'cancelled'] as const

const RUNS_A_PAGE = 20
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Returns what is asked for. What the address has besides is ignored. */
export function adminQueryOf(given: Record<string, string | string[] | undefined>): AdminQuery {
  const text = (name: string) => (typeof given[name] === 'string' ? given[name].trim().slice(0, 100) || undefined : undefined)
  const runs: RunFilters = { most: RUNS_A_PAGE }
  const status = RUN_STATUSES.find((known) => known === text('status'))
  if (status) runs.status = [status]
  if (text('site')) runs.site = text('site')
  if (text('error')) runs.error_code = text('error')
  const [at, id] = [text('before_at'), text('before_id')]
  if (at && id && UUID.test(id) && !Number.isNaN(Date.parse(at))) Object.assign(runs, { before_at: at, before_id: id })
  return { period: PERIODS.find(({ name }) => name === text('period'))?.name ?? '24h', runs }
}

export function sinceOf(period: Period): string {
  const { hours } = PERIODS.find(({ name }) => name === period)!
  return new Date(Date.now() - hours * 3_600_000).toISOString()
}
