import { dataOf, type Run, type RunItem, type SearchClient } from './client'
import type { Database, Json } from './database'
import type { Parameters } from './parameters'

type Functions = Database['public']['Functions']

export interface EnqueueOptions {
  /** The same key never enqueues a second run. */
  idempotencyKey?: string
  /** Search even if an equal search has just finished. */
  fresh?: boolean
  /** Any object that the run carries for the frontend. */
  context?: { [key: string]: Json }
}

/** Enqueues a search. The message of its error names the parameter that is wrong, and what is allowed. */
export async function enqueue<Kind extends keyof Parameters>(
  client: SearchClient,
  kind: Kind,
  parameters: Parameters[Kind],
  { idempotencyKey, fresh, context }: EnqueueOptions = {},
): Promise<Run> {
  const given: Functions['enqueue_search']['Args'] = {
    kind,
    parameters: parameters as Json,
    idempotency_key: idempotencyKey,
    fresh,
    client_context: context,
  }
  return dataOf(await client.rpc('enqueue_search', given))
}

/** Ends a run. What it has found so far stays. */
export async function cancel(client: SearchClient, runId: string): Promise<Run> {
  return dataOf(await client.rpc('cancel_search', { run_id: runId }))
}

/** Enqueues the same search again, as a new run. */
export async function rerun(client: SearchClient, runId: string): Promise<Run> {
  return dataOf(await client.rpc('rerun_search', { run_id: runId }))
}

/** Deletes a run that has ended, with its results. */
export async function deleteRun(client: SearchClient, runId: string): Promise<void> {
  dataOf(await client.rpc('delete_search', { run_id: runId }))
}

/** Returns the newest run of the signed-in user that has not ended, or null: the one to show when a page is opened. */
export async function activeRun(client: SearchClient): Promise<Run | null> {
  const active = client.from('search_runs').select().is('completed_at', null)
  const { data, error } = await active.order('created_at', { ascending: false }).limit(1).maybeSingle()
  if (error) throw error
  return data
}

/** Returns the newest runs of the signed-in user. */
export async function runs(client: SearchClient, limit = 50): Promise<Run[]> {
  return dataOf(await client.from('search_runs').select().order('created_at', { ascending: false }).limit(limit))
}

export interface ItemFilters {
  site?: string
  is_new?: boolean
  is_remote?: boolean
  work_mode?: 'remote' | 'hybrid' | 'onsite'
  /** Least pay by the year. */
  pay_from?: number
  country?: string
  city?: string
  skills?: string[]
  words?: string
}

export interface PageOfItems {
  items: Omit<RunItem, 'description'>[]
  page: number
  per_page: number
  total: number
  total_pages: number
  has_more: boolean
}

export interface PageOptions {
  page?: number
  perPage?: number
  filters?: ItemFilters
  sort?: 'found' | 'posted' | 'pay'
}

/** Returns a page of what a run has found so far. A page after the last one has no items. */
export async function pageOfItems(
  client: SearchClient,
  runId: string,
  { page, perPage, filters, sort }: PageOptions = {},
): Promise<PageOfItems> {
  const asked: Functions['page_of_run_items']['Args'] = { run_id: runId, page, per_page: perPage, filters: filters as Json, sort }
  return dataOf(await client.rpc('page_of_run_items', asked)) as unknown as PageOfItems
}

/** Returns the description of one thing that a run has found, as Markdown. */
export async function descriptionOf(client: SearchClient, runId: string, itemId: string): Promise<string | null> {
  const found = await client.from('run_items').select('description').eq('run_id', runId).eq('item_id', itemId).limit(1)
  return dataOf(found)[0]?.description ?? null
}

export interface Insights {
  found: number
  new: number
  work_modes: { remote: number; hybrid: number; onsite: number }
  /** Quartiles of the yearly pay. */
  pay: { currency: string; items: number; low: number; median: number; high: number }[]
  skills: { skill: string; items: number }[]
  organizations: { organization: string; items: number }[]
  /** The sites that are still searched, and how long that usually takes. */
  sites: { site: string; usual_seconds: number | null }[]
}

/** Returns a summary of what a run has found so far. */
export async function insightsOf(client: SearchClient, runId: string): Promise<Insights> {
  return dataOf(await client.rpc('insights_of_run', { run_id: runId })) as unknown as Insights
}
