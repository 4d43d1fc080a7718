import { dataOf, type SavedSearch, type SearchClient } from './client'
import type { Json } from './database'
import type { Parameters } from './parameters'

/** Returns the saved searches of the signed-in user, by name. */
export async function savedSearches(client: SearchClient): Promise<SavedSearch[]> {
  return dataOf(await client.from('saved_searches').select().order('name'))
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

/** Deletes a saved search. */
export async function deleteSavedSearch(client: SearchClient, id: string): Promise<void> {
  const { error } = await client.from('saved_searches').delete().eq('id', id)
  if (error) throw error
}
