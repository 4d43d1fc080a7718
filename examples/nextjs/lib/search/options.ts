import { dataOf, type SearchClient } from './client'
import type { Json } from './database'

export interface ParameterRule {
  name: string
  type: 'text' | 'integer' | 'boolean' | 'texts' | 'integers'
  is_required: boolean
  minimum: number | null
  maximum: number | null
  /** The values that are allowed; null for any. */
  allowed: (string | number)[] | null
  default: Json | null
  names_boards_of: string | null
}

export interface SiteOption {
  site: string
  label: string
  /** Whether a living worker can search it. */
  is_searchable: boolean
  paused_until: string | null
}

export interface KindOptions {
  kind: string
  is_private: boolean
  parameters: ParameterRule[]
  sites: SiteOption[]
}

/** What people call each site, by its name. */
export type SiteLabels = Readonly<Record<string, string>>

/** Returns what people call the sites of these kinds of search. */
export function siteLabelsOf(kinds: readonly KindOptions[]): SiteLabels {
  return Object.fromEntries(kinds.flatMap(({ sites }) => sites.map(({ site, label }) => [site, label])))
}

/** Returns what a form needs: the kinds of search, their parameters and sites. */
export async function searchOptions(client: SearchClient): Promise<KindOptions[]> {
  return (dataOf(await client.rpc('search_options')) as unknown as { kinds: KindOptions[] }).kinds
}
