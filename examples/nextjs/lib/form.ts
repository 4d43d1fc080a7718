// Between the fields of a form and the parameters of a search.
import type { ParameterRule } from './search'

export type Parameters = Record<string, unknown>

/** Returns the parameters that a form gives, without those that are left empty. The database checks them. */
export function parametersOf(form: FormData, rules: readonly ParameterRule[]): Parameters {
  const given: Parameters = {}
  for (const rule of rules) {
    const value = valueOf(form, rule)
    if (value !== undefined) given[rule.name] = value
  }
  return given
}

function valueOf(form: FormData, { name, type, allowed }: ParameterRule): unknown {
  if (type === 'boolean') return form.get(name) === 'on' ? true : undefined
  if (type === 'text') return String(form.get(name) ?? '').trim() || undefined
  if (type === 'integer') return numberOf(form.get(name))
  const texts = (allowed ? form.getAll(name).map(String) : String(form.get(name) ?? '').split(/[,\n]/)).map((text) => text.trim()).filter(Boolean)
  if (!texts.length) return undefined
  return type === 'integers' ? texts.map(numberOf) : texts
}

// What is no number stays a text, so that the database can say what is allowed.
function numberOf(value: FormDataEntryValue | null): number | string | undefined {
  const text = String(value ?? '').trim()
  if (!text) return undefined
  return Number.isFinite(Number(text)) ? Number(text) : text
}

/** Returns the parameter that a message of the database is about, such as `parameters.country must be ...`. */
export function fieldOf(message: string): string | null {
  return /^parameters\.(\w+)/.exec(message)?.[1] ?? null
}

/** Returns a name as people write it: `results_wanted` is `Results wanted`. */
export function labelOf(name: string): string {
  const words = name.replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** Returns what a rule allows, such as `1 to 1000; default: 20`. */
export function hintOf({ type, minimum, maximum, default: preset }: ParameterRule): string {
  const parts = []
  if (type === 'integer' && minimum !== null && maximum !== null) parts.push(`${minimum} to ${maximum}`)
  if (type === 'texts' || type === 'integers') parts.push('separated by commas')
  if (preset !== null && type !== 'boolean') parts.push(`default: ${Array.isArray(preset) ? preset.join(', ') : String(preset)}`)
  return parts.join('; ')
}
