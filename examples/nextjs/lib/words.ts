// How values are shown to people.
import { labelOf } from './form'
import type { Run, RunItem, SiteLabels } from './search'

export function timeInWords(at: string | null, timeZone = 'UTC'): string {
  if (!at) return ''
  return new Date(at).toLocaleString('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', timeZone })
}

export function durationInWords(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000))
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)]
  if (hours) return `${hours} h ${minutes} min`
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`
}

/** What Chromium, Firefox and Safari say when there is no answer. */
const UNREACHABLE = /Failed to fetch|NetworkError when attempting to fetch|Load failed/

/** The message of any error. Those of the database name the parameter that is wrong, and what is allowed. */
export function messageOf(error: unknown): string {
  const message = typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error)
  return UNREACHABLE.test(message) ? 'The server cannot be reached at the moment.' : message
}

const IN_THE_TITLE = ['search_term', 'location']

/** Returns what a run searches for. */
export function titleOf(run: Pick<Run, 'kind' | 'parameters'>): string {
  const parameters = run.parameters as Record<string, unknown>
  return [parameters.search_term ?? run.kind, parameters.location].filter(Boolean).join(', ')
}

/** Returns the parameters that the title does not have. */
export function parametersInWords({ parameters }: Pick<Run, 'parameters'>, labels: SiteLabels): string {
  const { sites, fallback_sites: fallback, ...given } = parameters as Record<string, unknown>
  const others = Object.entries(given).filter(([name]) => !IN_THE_TITLE.includes(name))
  const named = (names: unknown) => (names as string[]).map((site) => labels[site] ?? site).join(', ')
  const parts = others.map(([name, value]) => (value === true ? labelOf(name) : `${labelOf(name)}: ${Array.isArray(value) ? value.join(', ') : String(value)}`))
  if (fallback) parts.unshift(`Otherwise: ${named(fallback)}`)
  if (sites) parts.unshift(named(sites))
  return parts.join(' · ')
}

export function payInWords({ salary_min, salary_max, currency, salary_interval }: Pick<RunItem, 'salary_min' | 'salary_max' | 'currency' | 'salary_interval'>): string {
  const amounts = [...new Set([salary_min, salary_max].filter((amount) => amount !== null))]
  if (!amounts.length) return ''
  return [amounts.map((amount) => Math.round(amount).toLocaleString('en-GB')).join(' – '), currency, salary_interval].filter(Boolean).join(' ')
}

/** Returns a share from 0 to 1 in per cent. */
export function percent(share: number | null): string {
  return share === null ? '–' : `${(100 * share).toLocaleString('en-GB', { maximumFractionDigits: 1 })} %`
}

export function secondsInWords(seconds: number | null): string {
  if (seconds === null) return '–'
  return seconds < 60 ? `${seconds.toLocaleString('en-GB', { maximumFractionDigits: 1 })} s` : durationInWords(seconds * 1000)
}
