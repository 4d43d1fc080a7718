// What the address of a run says about its results: filters, sort and page.
import type { ItemFilters, PageOptions } from './search'

type Given = Record<string, string | string[] | undefined>

const SORTS = ['found', 'posted', 'pay'] as const
const WORK_MODES = ['remote', 'hybrid', 'onsite'] as const

export type ResultsQuery = PageOptions & { page: number; sort: (typeof SORTS)[number]; filters: ItemFilters }

/** Returns what is asked for. What the address has besides is ignored. */
export function resultsQueryOf(given: Given): ResultsQuery {
  const text = (name: string) => (typeof given[name] === 'string' ? given[name].trim().slice(0, 100) || undefined : undefined)
  const filters: ItemFilters = {}
  if (text('words')) filters.words = text('words')
  if (text('site')) filters.site = text('site')
  if (text('new') === 'true') filters.is_new = true
  filters.work_mode = WORK_MODES.find((mode) => mode === text('mode'))
  if (!filters.work_mode) delete filters.work_mode
  const page = Number(text('page') ?? 1)
  return {
    page: Number.isInteger(page) && page >= 1 && page <= 10_000 ? page : 1,
    sort: SORTS.find((sort) => sort === text('sort')) ?? 'found',
    filters,
  }
}
