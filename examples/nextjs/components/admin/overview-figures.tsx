import type { Activity, Overview } from '@/lib/search'
import { percent, secondsInWords } from '@/lib/words'

export function OverviewFigures({ overview, activity }: { overview: Overview; activity: Activity }) {
  const { outcomes, duration, wait } = overview
  const figures = [
    ['Runs', overview.runs.toLocaleString('en-GB')],
    ['Success', percent(outcomes.success.rate)],
    ['Partial', percent(outcomes.partial.rate)],
    ['Failed', percent(outcomes.failed.rate)],
    ['Duration p50 / p95', `${secondsInWords(duration.p50)} / ${secondsInWords(duration.p95)}`],
    ['Wait p50 / p95', `${secondsInWords(wait.p50)} / ${secondsInWords(wait.p95)}`],
    ['Items', `${overview.items.toLocaleString('en-GB')}, ${overview.new_items.toLocaleString('en-GB')} new`],
    ['Running now', activity.running.length.toLocaleString('en-GB')],
  ]
  return (
    <dl className="grid grid-cols-2 gap-3 sm:grid-cols-4">
      {figures.map(([name, value]) => (
        <div key={name} className="rounded-lg border border-line p-3">
          <dt className="text-xs text-quiet">{name}</dt>
          <dd className="text-lg font-semibold tabular-nums">{value}</dd>
        </div>
      ))}
    </dl>
  )
}
