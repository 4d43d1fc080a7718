import { followChanges } from './changes'
import { dataOf, type Run, type RunSite, type SearchClient } from './client'

export interface RunState {
  run: Run
  sites: RunSite[]
}

/** Returns the state of a run, or null if there is no such run. */
export async function readRun(client: SearchClient, runId: string, signal = new AbortController().signal): Promise<RunState | null> {
  // The run first: then the sites of a run that has ended are final.
  const run = await client.from('search_runs').select().eq('id', runId).abortSignal(signal).maybeSingle()
  const sites = await client.from('run_sites').select().eq('run_id', runId).order('position').abortSignal(signal)
  if (run.error ?? sites.error) throw run.error ?? sites.error
  return run.data && { run: run.data, sites: sites.data ?? [] }
}

/**
 * Watches a run until it has ended, also if it follows an equal run that searches for it.
 *
 * @param onChange Called with the state of the run, at once and after each change.
 * @param onError Called when the run cannot be read. Watching continues, unless there is no such run.
 * @returns A function that stops watching.
 */
export function watchRun(
  client: SearchClient,
  runId: string,
  onChange: (state: RunState) => void,
  onError: (error: unknown) => void = () => {},
): () => void {
  let last = ''
  let isOver = false
  const unfollow = followChanges(client, { table: 'search_runs', filter: `id=eq.${runId}` }, read, onError)
  return stop

  function stop(): void {
    isOver = true
    unfollow()
  }

  async function read(signal: AbortSignal): Promise<boolean> {
    const state = await readRun(client, runId, signal)
    if (isOver) return false
    if (!state) {
      stop()
      onError(new Error('There is no such run.'))
      return false
    }
    const now = JSON.stringify(state)
    const hasChanged = now !== last
    if (hasChanged) onChange(state)
    last = now
    if (state.run.completed_at) stop()
    return hasChanged
  }
}

/**
 * Watches the newest runs of a user.
 *
 * @param userId The id of the signed-in user.
 * @param onChange Called with the runs, newest first, at once and after each change.
 * @param onError Called when the runs cannot be read. Watching continues.
 * @returns A function that stops watching.
 */
export function watchRuns(
  client: SearchClient,
  userId: string,
  onChange: (runs: Run[]) => void,
  onError: (error: unknown) => void = () => {},
  limit = 50,
): () => void {
  let last = ''
  let isOver = false
  const unfollow = followChanges(client, { table: 'search_runs', filter: `user_id=eq.${userId}` }, read, onError)
  return () => {
    isOver = true
    unfollow()
  }

  async function read(signal: AbortSignal): Promise<boolean> {
    const newest = client.from('search_runs').select().eq('user_id', userId).order('created_at', { ascending: false })
    const runs = dataOf(await newest.limit(limit).abortSignal(signal))
    const now = JSON.stringify(runs)
    if (isOver || now === last) return false
    onChange(runs)
    last = now
    return true
  }
}
