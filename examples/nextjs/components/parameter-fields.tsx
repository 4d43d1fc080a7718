'use client'

import { hintOf, labelOf, type Parameters } from '@/lib/form'
import type { KindOptions, ParameterRule, SiteOption } from '@/lib/search'
import { timeInWords } from '@/lib/words'
import { Field, Input, Select } from './ui/field'

const FIRST = ['search_term', 'location', 'country', 'results_wanted', 'job_title', 'language']

interface Props {
  options: KindOptions
  values: Parameters
  problem: { field: string | null; message: string } | null
}

/** The fields of a kind of search: the usual ones, the sites, and the others behind "More". */
export function ParameterFields({ options, values, problem }: Props) {
  const rules = options.parameters.filter(({ name }) => name !== 'sites' && name !== 'fallback_sites')
  const first = FIRST.flatMap((name) => rules.filter((rule) => rule.name === name))
  const others = rules.filter((rule) => !first.includes(rule))
  const [switches, texts] = [others.filter(({ type }) => type === 'boolean'), others.filter(({ type }) => type !== 'boolean')]
  const field = (rule: ParameterRule) => (
    <ParameterField key={rule.name} rule={rule} value={values[rule.name]} error={problem?.field === rule.name ? problem.message : undefined} />
  )
  return (
    <>
      <div className="grid gap-x-4 gap-y-1 sm:grid-cols-2">{first.map(field)}</div>
      <SiteFields name="sites" label="Sites" sites={options.sites} rule={options.parameters.find(({ name }) => name === 'sites')} values={values} problem={problem} />
      <details className="text-sm" open={others.some(({ name }) => name === problem?.field) || undefined}>
        <summary className="cursor-pointer py-1 text-accent">More</summary>
        <div className="mt-2 grid gap-x-4 gap-y-1 sm:grid-cols-2">{texts.map(field)}</div>
        <div className="grid grid-cols-2 gap-x-4 sm:grid-cols-4">{switches.map(field)}</div>
        <SiteFields
          name="fallback_sites"
          label="Sites to search if one of these fails"
          sites={options.sites}
          rule={options.parameters.find(({ name }) => name === 'fallback_sites')}
          values={values}
          problem={problem}
        />
      </details>
    </>
  )
}

function ParameterField({ rule, value, error }: { rule: ParameterRule; value: unknown; error?: string }) {
  const id = `parameter-${rule.name}`
  const given = { id, name: rule.name, 'aria-invalid': error ? true : undefined, 'aria-describedby': `${id}-note` }
  const text = Array.isArray(value) ? value.join(', ') : value === undefined || value === null ? '' : String(value)
  if (rule.type === 'boolean') {
    return (
      <div className="flex items-start gap-2 py-2">
        <input type="checkbox" {...given} defaultChecked={Boolean(value ?? rule.default)} className="mt-1 size-4 shrink-0" />
        <label htmlFor={id} className="text-sm">
          {labelOf(rule.name)}
          <span id={`${id}-note`} className="block text-xs text-bad">
            {error}
          </span>
        </label>
      </div>
    )
  }
  return (
    <Field id={id} label={labelOf(rule.name)} hint={hintOf(rule)} error={error}>
      {rule.allowed && rule.type === 'text' ? (
        <Select {...given} defaultValue={text}>
          <option value="">Any</option>
          {rule.allowed.map((allowed) => (
            <option key={allowed} value={allowed}>
              {labelOf(String(allowed))}
            </option>
          ))}
        </Select>
      ) : (
        <Input
          {...given}
          type={rule.type === 'integer' ? 'number' : 'text'}
          min={rule.type === 'integer' ? (rule.minimum ?? undefined) : undefined}
          max={rule.type === 'integer' ? (rule.maximum ?? undefined) : undefined}
          required={rule.is_required}
          defaultValue={text}
        />
      )}
    </Field>
  )
}

interface SiteFieldsProps extends Pick<Props, 'values' | 'problem'> {
  name: string
  label: string
  sites: readonly SiteOption[]
  rule: ParameterRule | undefined
}

function SiteFields({ name, label, sites, rule, values, problem }: SiteFieldsProps) {
  if (!rule) return null
  const chosen = (values[name] ?? rule.default ?? []) as string[]
  const error = problem?.field === name ? problem.message : null
  return (
    <fieldset className="mt-1" aria-describedby={error ? `${name}-note` : undefined}>
      <legend className="mb-1 text-sm font-medium">{label}</legend>
      <div className="grid grid-cols-2 gap-x-4 gap-y-1 sm:grid-cols-4">
        {sites.map(({ site, label, is_searchable, paused_until }) => (
          <label key={site} className="flex min-h-8 items-center gap-2 text-sm">
            <input type="checkbox" name={name} value={site} defaultChecked={chosen.includes(site)} className="size-4 shrink-0" />
            <span>
              {label}
              {!is_searchable && <span className="block text-xs text-quiet">not available now</span>}
              {is_searchable && paused_until && <span className="block text-xs text-warn">paused until {timeInWords(paused_until)} UTC</span>}
            </span>
          </label>
        ))}
      </div>
      {error && (
        <p id={`${name}-note`} role="alert" className="text-xs text-bad">
          {error}
        </p>
      )}
    </fieldset>
  )
}
