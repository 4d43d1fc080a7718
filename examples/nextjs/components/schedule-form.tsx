'use client'

import { useState, type FormEvent } from 'react'
import { scheduleSearch, unscheduleSearch, type SavedSearchState } from '@/lib/search'
import { messageOf } from '@/lib/words'
import { useSupabase } from './supabase-provider'
import { Button } from './ui/button'
import { Problem } from './ui/card'
import { Field, Input, Select } from './ui/field'

export const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']

/** Says at which times of day, on which days and in which time zone a saved search is repeated. */
export function ScheduleForm({ saved, onDone }: { saved: SavedSearchState; onDone: () => void }) {
  const supabase = useSupabase()
  const [problem, setProblem] = useState<string | null>(null)
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone
  const zones = [...new Set([saved.time_zone ?? here, here, 'UTC', ...Intl.supportedValuesOf('timeZone')])]

  async function attempt(act: () => Promise<unknown>): Promise<void> {
    setProblem(null)
    try {
      await act()
      onDone()
    } catch (error) {
      setProblem(messageOf(error))
    }
  }

  function submit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    const times = String(form.get('times')).split(',').map((time) => time.trim()).filter(Boolean)
    const weekdays = form.getAll('weekdays').map(Number)
    void attempt(() => scheduleSearch(supabase, saved.id, { times, weekdays, timeZone: String(form.get('zone')) }))
  }

  return (
    <form onSubmit={submit} className="flex flex-col gap-1 rounded-md bg-raised p-3">
      <Field id={`times-${saved.id}`} label="Times of day" hint="such as 08:00, 16:45">
        <Input id={`times-${saved.id}`} name="times" defaultValue={saved.times?.map((time) => time.slice(0, 5)).join(', ') ?? '08:00'} required />
      </Field>
      <fieldset>
        <legend className="text-sm font-medium">Days</legend>
        <div className="grid grid-cols-4 gap-x-3">
          {DAYS.map((day, index) => (
            <label key={day} className="flex items-center gap-1 py-1">
              <input type="checkbox" name="weekdays" value={index + 1} defaultChecked={saved.weekdays?.includes(index + 1) ?? true} className="size-4" />
              {day}
            </label>
          ))}
        </div>
      </fieldset>
      <Field id={`zone-${saved.id}`} label="Time zone">
        <Select id={`zone-${saved.id}`} name="zone" defaultValue={saved.time_zone ?? here}>
          {zones.map((zone) => (
            <option key={zone}>{zone}</option>
          ))}
        </Select>
      </Field>
      {problem && <Problem>{problem}</Problem>}
      <div className="flex gap-2">
        <Button type="submit" look="main" size="small">
          Save schedule
        </Button>
        {saved.times && (
          <Button size="small" look="danger" onClick={() => attempt(() => unscheduleSearch(supabase, saved.id))}>
            Do not repeat
          </Button>
        )}
      </div>
    </form>
  )
}
