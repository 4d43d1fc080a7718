'use client'

import { useRouter } from 'next/navigation'
import { useRef, useState, type FormEvent } from 'react'
import { fieldOf, labelOf, parametersOf, type Parameters } from '@/lib/form'
import { enqueue, saveSearch, type KindOptions } from '@/lib/search'
import { messageOf } from '@/lib/words'
import { ParameterFields } from './parameter-fields'
import { useSupabase } from './supabase-provider'
import { Button } from './ui/button'
import { Card, Problem } from './ui/card'
import { Field, Input, Select } from './ui/field'

/** A form for any kind of search, made from what the database says about it. */
export function SearchForm({ kinds, onSaved }: { kinds: KindOptions[]; onSaved: () => void }) {
  const supabase = useSupabase()
  const router = useRouter()
  const form = useRef<HTMLFormElement>(null)
  const [kind, setKind] = useState(() => kinds.find((known) => known.kind === 'jobs')?.kind ?? kinds[0]?.kind)
  const [values, setValues] = useState<Parameters>({})
  const [problem, setProblem] = useState<{ field: string | null; message: string } | null>(null)
  const [name, setName] = useState('')
  const [isBusy, setIsBusy] = useState(false)
  const options = kinds.find((known) => known.kind === kind)
  if (!options) return <Problem>No kind of search is installed.</Problem>

  async function attempt(act: (kind: never, parameters: never) => Promise<void>): Promise<void> {
    const parameters = parametersOf(new FormData(form.current!), options!.parameters)
    setValues(parameters)
    setProblem(null)
    setIsBusy(true)
    try {
      await act(options!.kind as never, parameters as never)
    } catch (error) {
      const message = messageOf(error)
      setProblem({ field: fieldOf(message), message })
    } finally {
      setIsBusy(false)
    }
  }

  function search(event: FormEvent): void {
    event.preventDefault()
    void attempt(async (kind, parameters) => {
      const run = await enqueue(supabase, kind, parameters, { idempotencyKey: crypto.randomUUID() })
      router.push(`/runs/${run.id}`)
    })
  }

  function save(): void {
    if (!form.current?.reportValidity()) return
    void attempt(async (kind, parameters) => {
      await saveSearch(supabase, name.trim(), kind, parameters)
      setName('')
      onSaved()
    })
  }

  const isAtField = options.parameters.some(({ name }) => name === problem?.field)
  return (
    <Card title="Search">
      <form ref={form} onSubmit={search} className="flex flex-col gap-2">
        {kinds.length > 1 && (
          <Field id="kind" label="What to search for">
            <Select
              id="kind"
              value={kind}
              onChange={(event) => {
                setKind(event.target.value)
                setValues({})
                setProblem(null)
              }}
            >
              {kinds.map((known) => (
                <option key={known.kind} value={known.kind}>
                  {labelOf(known.kind)}
                </option>
              ))}
            </Select>
          </Field>
        )}
        <ParameterFields key={kind} options={options} values={values} problem={problem} />
        {problem && !isAtField && <Problem>{problem.message}</Problem>}
        <div className="mt-1 flex flex-wrap items-end gap-3">
          <Button type="submit" look="main" disabled={isBusy}>
            Search
          </Button>
          <div className="ml-auto flex items-end gap-2">
            <label className="text-sm">
              <span className="sr-only">Name of the saved search</span>
              <Input value={name} onChange={(event) => setName(event.target.value)} placeholder="Name to save it as" maxLength={200} className="w-44" />
            </label>
            <Button onClick={save} disabled={isBusy || !name.trim()}>
              Save
            </Button>
          </div>
        </div>
      </form>
    </Card>
  )
}
