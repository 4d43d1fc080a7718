import { useCallback, useEffect, useState } from 'react'
import type { Run, SavedSearchState, SearchClient } from './client'
import { savedSearchStates } from './saved'
import { watchRun, watchRuns, type RunState } from './watch'

/** The state of a run, live: null until it is read. */
export function useRun(client: SearchClient, runId: string | null): { state: RunState | null; error: unknown } {
  const { value, error } = useWatched(client, runId, watchRun)
  return { state: value, error }
}

/** The newest runs of the signed-in user, live: null until they are read. */
export function useRuns(client: SearchClient, userId: string | null, limit = 50): { runs: Run[] | null; error: unknown } {
  const watch = useCallback<Watch<Run[]>>((...given) => watchRuns(...given, limit), [limit])
  const { value, error } = useWatched(client, userId, watch)
  return { runs: value, error }
}

/** The saved searches of the signed-in user with their schedules: null until they are read. Call `reload` after a change. */
export function useSavedSearches(
  client: SearchClient,
  userId: string | null,
): { searches: SavedSearchState[] | null; error: unknown; reload: () => void } {
  const [read, setRead] = useState<Read<SavedSearchState[]> | null>(null)
  const [version, setVersion] = useState(0)
  const reload = useCallback(() => setVersion((known) => known + 1), [])
  useEffect(() => {
    if (userId === null) return
    let isCurrent = true
    savedSearchStates(client).then(
      (value) => isCurrent && setRead({ client, id: userId, value, error: null }),
      (error) => isCurrent && setRead((last) => ({ client, id: userId, value: valueOf(last, client, userId), error })),
    )
    return () => {
      isCurrent = false
    }
  }, [client, userId, version])
  return { searches: valueOf(read, client, userId), error: errorOf(read, client, userId), reload }
}

/** What was read last, and for whom. */
interface Read<Value> {
  client: SearchClient
  id: string
  value: Value | null
  error: unknown
}

type Watch<Value> = (client: SearchClient, id: string, onChange: (value: Value) => void, onError: (error: unknown) => void) => () => void

function useWatched<Value>(client: SearchClient, id: string | null, watch: Watch<Value>): { value: Value | null; error: unknown } {
  const [read, setRead] = useState<Read<Value> | null>(null)
  useEffect(() => {
    if (id === null) return
    const show = (value: Value): void => setRead({ client, id, value, error: null })
    const fail = (error: unknown): void => setRead((last) => ({ client, id, value: valueOf(last, client, id), error }))
    return watch(client, id, show, fail)
  }, [client, id, watch])
  return { value: valueOf(read, client, id), error: errorOf(read, client, id) }
}

// What was read for another id or user is never shown.
function valueOf<Value>(read: Read<Value> | null, client: SearchClient, id: string | null): Value | null {
  return read?.client === client && read.id === id ? read.value : null
}

function errorOf(read: Read<unknown> | null, client: SearchClient, id: string | null): unknown {
  return read?.client === client && read.id === id ? read.error : null
}
