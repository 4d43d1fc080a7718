import { useCallback, useEffect, useState } from 'react'
import type { Run, SavedSearchState, SearchClient } from './client'
import { savedSearchStates } from './saved'
import { watchRun, watchRuns, type RunState } from './watch'

/** The state of a run, live: null until it is read. */
export function useRun(client: SearchClient, runId: string | null): { state: RunState | null; error: unknown } {
  const [state, setState] = useState<RunState | null>(null)
  const [error, setError] = useState<unknown>(null)
  useEffect(() => {
    setState(null)
    setError(null)
    if (runId === null) return
    const show = (changed: RunState): void => {
      setState(changed)
      setError(null)
    }
    return watchRun(client, runId, show, setError)
  }, [client, runId])
  return { state, error }
}

/** The newest runs of the signed-in user, live: null until they are read. */
export function useRuns(client: SearchClient, userId: string | null): { runs: Run[] | null; error: unknown } {
  const [runs, setRuns] = useState<Run[] | null>(null)
  const [error, setError] = useState<unknown>(null)
  useEffect(() => {
    setRuns(null)
    setError(null)
    if (userId === null) return
    const show = (changed: Run[]): void => {
      setRuns(changed)
      setError(null)
    }
    return watchRuns(client, userId, show, setError)
  }, [client, userId])
  return { runs, error }
}

/** The saved searches of the signed-in user with their schedules: null until they are read. Call `reload` after a change. */
export function useSavedSearches(
  client: SearchClient,
  userId: string | null,
): { searches: SavedSearchState[] | null; error: unknown; reload: () => void } {
  const [searches, setSearches] = useState<SavedSearchState[] | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [version, setVersion] = useState(0)
  const reload = useCallback(() => setVersion((known) => known + 1), [])
  useEffect(() => {
    setSearches(null)
    setError(null)
  }, [client, userId])
  useEffect(() => {
    if (userId === null) return
    let isCurrent = true
    const show = (found: SavedSearchState[]): void => {
      if (!isCurrent) return
      setSearches(found)
      setError(null)
    }
    const fail = (failure: unknown): void => {
      if (isCurrent) setError(failure)
    }
    savedSearchStates(client).then(show, fail)
    return () => {
      isCurrent = false
    }
  }, [client, userId, version])
  return { searches, error, reload }
}
