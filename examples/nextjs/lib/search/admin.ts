// For admins: users whose app_metadata.role is admin. Others get an error.
import { dataOf, type SearchClient } from './client'
import type { Database } from './database'

type Functions = Database['public']['Functions']

export type Outcome = 'success' | 'partial' | 'failed' | 'cancelled'

export interface Overview {
  since: string
  runs: number
  items: number
  new_items: number
  pages: number
  requests: number
  outcomes: Record<Outcome, { runs: number; rate: number | null }>
  /** In seconds. */
  duration: { p50: number | null; p95: number | null }
  wait: { p50: number | null; p95: number | null }
  errors: { error_code: string; runs: number }[]
  by_hour: ({ hour: string; runs: number } & Record<Outcome, number>)[]
  queue: { hour: string; ready: number; delayed: number; running: number }[]
}

export async function adminOverview(client: SearchClient, since: string): Promise<Overview> {
  return dataOf(await client.rpc('admin_overview', { since })) as unknown as Overview
}

export interface Quota {
  bucket: string
  quota: number
  quota_used: number
  quota_resets_at: string | null
}

/** The limits of a bucket. What is missing has no limit. */
export interface Limits {
  bucket: string
  requests?: number
  period_seconds: number
  min_delay_seconds?: number
  quota?: number
  quota_period: 'day' | 'month'
  searches?: number
  searches_per_account?: number
  /** What is wrong with them. */
  message?: string
}

export type AdminSite = Omit<Functions['admin_sites']['Returns'][number], 'success_rate' | 'duration_p50' | 'duration_p95' | 'invalid_share' | 'paused_until' | 'last_error_code' | 'errors' | 'quotas' | 'limits'> & {
  success_rate: number | null
  duration_p50: number | null
  duration_p95: number | null
  invalid_share: number | null
  paused_until: string | null
  last_error_code: string | null
  errors: Record<string, number>
  quotas: Quota[]
  limits: Limits[]
}

export async function adminSites(client: SearchClient, since: string): Promise<AdminSite[]> {
  return dataOf(await client.rpc('admin_sites', { since })) as unknown as AdminSite[]
}

export type AdminQuality = Omit<Functions['admin_quality']['Returns'][number], 'invalid_share' | 'completeness'> & {
  invalid_share: number | null
  /** Share of the items that have each field, from 0 to 1. */
  completeness: Record<string, number>
}

export async function adminQuality(client: SearchClient, since: string): Promise<AdminQuality[]> {
  return dataOf(await client.rpc('admin_quality', { since })) as unknown as AdminQuality[]
}

export type AdminQuota = Omit<Functions['admin_quotas']['Returns'][number], 'resets_at' | 'users'> & {
  resets_at: string | null
  users: { user_id: string; email: string | null; used: number }[]
}

export async function adminQuotas(client: SearchClient): Promise<AdminQuota[]> {
  return dataOf(await client.rpc('admin_quotas')) as unknown as AdminQuota[]
}

export interface AdminExit {
  exit: string
  site: string
  state: 'closed' | 'half_open' | 'open'
  paused_until: string | null
  /** exit_failed: the exit does not work, whatever the site. */
  paused_by: string | null
  last_error_code: string | null
  /** From 0 to 1. */
  success_rate: number | null
  response_ms: number | null
  last_success_at: string | null
  /** These three are of today (UTC). */
  requests: number
  refused: number
  bytes: number
}

export async function adminExits(client: SearchClient): Promise<AdminExit[]> {
  return dataOf(await client.rpc('admin_exits')) as unknown as AdminExit[]
}

export interface Activity {
  now: string
  workers: { worker_id: string; version: string; concurrency: number; running: number; started_at: string; seen_at: string }[]
  running: { run_id: string; kind: string; search_term: string | null; worker_id: string; sites: string[]; started_at: string; items_found: number }[]
  ended: { seconds: number; runs: number; searched: number; failed: number; items: number; wait_seconds: number | null }[]
}

export async function adminWorkers(client: SearchClient): Promise<Activity> {
  return dataOf(await client.rpc('admin_workers')) as unknown as Activity
}

export interface Incidents {
  rules: { rule: string; unit: string; threshold: number; is_enabled: boolean }[]
  incidents: { id: string; rule: string; subject: string; value: number; detail: string; opened_at: string; notified_at: string | null; error: string | null }[]
}

export async function adminIncidents(client: SearchClient): Promise<Incidents> {
  return dataOf(await client.rpc('admin_incidents')) as unknown as Incidents
}

export interface Webhooks {
  endpoints: { name: string; events: string[]; disabled_at: string | null; disabled_reason: string | null; waiting: number; dead: number; last_delivered_at: string | null; last_error: string | null }[]
  dead: { id: string; endpoint: string; event: string; attempts: number; error: string | null; created_at: string }[]
}

export async function adminWebhooks(client: SearchClient): Promise<Webhooks> {
  return dataOf(await client.rpc('admin_webhooks')) as unknown as Webhooks
}

/** Sends dead messages of an endpoint again, or one message. Returns how many. */
export async function replayWebhooks(client: SearchClient, endpoint: string, messageId?: string): Promise<number> {
  return dataOf(await client.rpc('admin_replay_webhooks', { endpoint, message_id: messageId?.replace(/^msg_/, '') }))
}

export interface AdminRun {
  id: string
  email: string | null
  kind: string
  source: string
  status: string
  parameters: Record<string, unknown>
  created_at: string
  started_at: string | null
  completed_at: string | null
  items_found: number
  error_code: string | null
  error_message: string | null
  sites: { site: string; status: string; jobs_found: number; attempts: number; error_code: string | null; error_message: string | null }[]
  events: { at: string; event: string; site: string | null; data: Record<string, unknown> }[]
}

export interface AdminRuns {
  runs: AdminRun[]
  /** The arguments of the next page; null at the end. */
  next: { before_at: string; before_id: string } | null
}

export async function adminRuns(client: SearchClient, filters: Functions['admin_runs']['Args']): Promise<AdminRuns> {
  return dataOf(await client.rpc('admin_runs', filters)) as unknown as AdminRuns
}
