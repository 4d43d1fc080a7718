import { dataOf, type Run, type SavedSearch, type SavedSearchState, type Schedule, type SearchClient } from './client'
import type { Json } from './database'
import type { Parameters } from './parameters'

/** Returns the saved searches of the signed-in user, by name. */
export async function savedSearches(client: SearchClient): Promise<SavedSearch[]> {
  return dataOf(await client.from('saved_searches').select().order('name'))
}

/** Returns the saved searches of the signed-in user with their schedules, last runs and new results, by name. */
export async function savedSearchStates(client: SearchClient): Promise<SavedSearchState[]> {
  return dataOf(await client.from('saved_search_states').select().order('name'))
}

/** Saves a search under a name. */
export async function saveSearch<Kind extends keyof Parameters>(
  client: SearchClient,
  name: string,
  kind: Kind,
  parameters: Parameters[Kind],
): Promise<SavedSearch> {
  const saved = { name, kind, parameters: parameters as Json & object }
  return dataOf(await client.from('saved_searches').insert(saved).select().single())
}

/** Deletes a saved search. Its runs stay. */
export async function deleteSavedSearch(client: SearchClient, id: string): Promise<void> {
  const { error } = await client.from('saved_searches').delete().eq('id', id)
  if (error) throw error
}

/** Enqueues a saved search now. */
export async function runSavedSearch(client: SearchClient, id: string): Promise<Run> {
  return dataOf(await client.rpc('run_saved_search', { saved_search_id: id }))
}

export interface Times {
  /** Times of day, such as `08:00`. */
  times: string[]
  /** 1 (Monday) to 7. */
  weekdays: number[]
  /** IANA name. */
  timeZone: string
}

/** Repeats a saved search at these times, instead of how it was repeated before. */
export async function scheduleSearch(client: SearchClient, id: string, { times, weekdays, timeZone }: Times): Promise<Schedule> {
  const schedule = { saved_search_id: id, times, weekdays, time_zone: timeZone, paused: null }
  return dataOf(await client.from('search_schedules').upsert(schedule).select().single())
}

/** Pauses a schedule, or repeats it again. */
export async function pauseSchedule(client: SearchClient, id: string, isPaused: boolean): Promise<void> {
  const { error } = await client.from('search_schedules').update({ paused: isPaused ? 'user' : null }).eq('saved_search_id', id)
  if (error) throw error
}

/** Stops repeating a saved search. */
export async function unscheduleSearch(client: SearchClient, id: string): Promise<void> {
  const { error } = await client.from('search_schedules').delete().eq('saved_search_id', id)
  if (error) throw error
}

/** Remembers that the user has seen what is new. */
export async function markSeen(client: SearchClient): Promise<void> {
  const { error } = await client.rpc('mark_seen')
  if (error) throw error
}
