import type { SupabaseClient } from '@supabase/supabase-js'
import type { Database } from './database'

export type SearchClient = SupabaseClient<Database>

type Rows = Database['public']['Tables']
type Views = Database['public']['Views']

export type Run = Rows['search_runs']['Row']
export type SavedSearch = Rows['saved_searches']['Row']
export type Schedule = Rows['search_schedules']['Row']
export type SavedSearchState = Views['saved_search_states']['Row']
export type RunSite = Views['run_sites']['Row']
export type RunItem = Views['run_items']['Row']

/** Returns the data of an answer of supabase-js, or throws its error, whose message is for the user. */
export function dataOf<Data>({ data, error }: { data: Data; error: Error | null }): NonNullable<Data> {
  if (error) throw error
  return data!
}
