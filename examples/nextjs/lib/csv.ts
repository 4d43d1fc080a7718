import type { PageOfItems } from './search'

const COLUMNS = [
  'title', 'organization', 'location', 'work_mode', 'salary_min', 'salary_max', 'currency', 'salary_interval', 'posted_at', 'is_new', 'site', 'url',
] as const // prettier-ignore

/** Returns items as CSV (RFC 4180). */
export function csvOf(items: PageOfItems['items']): string {
  const rows = items.map((item) => COLUMNS.map((column) => cell(item[column])))
  return [[...COLUMNS], ...rows].map((row) => row.join(',')).join('\r\n') + '\r\n'
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return ''
  // A spreadsheet would run a text that begins like a formula, and the texts come from sites.
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
