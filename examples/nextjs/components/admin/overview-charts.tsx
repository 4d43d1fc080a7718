'use client'

import type { ReactElement } from 'react'
import { Bar, BarChart, CartesianGrid, Legend, Line, LineChart, ResponsiveContainer, Tooltip, XAxis, YAxis } from 'recharts'
import type { AdminSite, Overview, SiteLabels } from '@/lib/search'
import { timeInWords } from '@/lib/words'
import { Card, Empty } from '../ui/card'

const COLORS = { good: 'var(--color-good)', warn: 'var(--color-warn)', bad: 'var(--color-bad)', quiet: 'var(--color-quiet)', accent: 'var(--color-accent)' }
const TOOLTIP = { contentStyle: { background: 'var(--color-raised)', border: '1px solid var(--color-line)', color: 'var(--color-ink)' } }

interface Props {
  overview: Overview
  sites: AdminSite[]
  labels: SiteLabels
}

/** Runs by hour, how long the sites take, the length of the queue, and errors by type. */
export function OverviewCharts({ overview: { by_hour, queue, errors }, sites, labels }: Props) {
  const durations = sites.flatMap(({ site, duration_p50: p50, duration_p95: p95 }) => (p50 === null ? [] : [{ site: labels[site] ?? site, p50, p95 }]))
  return (
    <div className="grid gap-6 lg:grid-cols-2">
      <Chart title="Runs by hour" isEmpty={by_hour.length === 0}>
        <BarChart data={by_hour} accessibilityLayer>
          <CartesianGrid stroke="var(--color-line)" vertical={false} />
          <XAxis dataKey="hour" tickFormatter={(hour) => timeInWords(hour)} minTickGap={40} fontSize={11} stroke={COLORS.quiet} />
          <YAxis allowDecimals={false} width={36} fontSize={11} stroke={COLORS.quiet} />
          <Tooltip labelFormatter={(hour) => timeInWords(String(hour))} {...TOOLTIP} />
          <Legend wrapperStyle={{ fontSize: 12 }} />
          <Bar dataKey="success" stackId="runs" fill={COLORS.good} isAnimationActive={false} maxBarSize={48} />
          <Bar dataKey="partial" stackId="runs" fill={COLORS.warn} isAnimationActive={false} maxBarSize={48} />
          <Bar dataKey="failed" stackId="runs" fill={COLORS.bad} isAnimationActive={false} maxBarSize={48} />
          <Bar dataKey="cancelled" stackId="runs" fill={COLORS.quiet} isAnimationActive={false} maxBarSize={48} />
        </BarChart>
      </Chart>
      <Chart title="Seconds that a search of a site takes" isEmpty={durations.length === 0}>
        <BarChart data={durations} accessibilityLayer>
          <CartesianGrid stroke="var(--color-line)" vertical={false} />
          <XAxis dataKey="site" fontSize={11} stroke={COLORS.quiet} />
          <YAxis width={36} fontSize={11} stroke={COLORS.quiet} />
          <Tooltip {...TOOLTIP} />
          <Legend wrapperStyle={{ fontSize: 12 }} />
          <Bar dataKey="p50" fill={COLORS.accent} isAnimationActive={false} maxBarSize={48} />
          <Bar dataKey="p95" fill={COLORS.quiet} isAnimationActive={false} maxBarSize={48} />
        </BarChart>
      </Chart>
      <Chart title="Queue, highest of each hour" isEmpty={queue.length === 0}>
        <LineChart data={queue} accessibilityLayer>
          <CartesianGrid stroke="var(--color-line)" vertical={false} />
          <XAxis dataKey="hour" tickFormatter={(hour) => timeInWords(hour)} minTickGap={40} fontSize={11} stroke={COLORS.quiet} />
          <YAxis allowDecimals={false} width={36} fontSize={11} stroke={COLORS.quiet} />
          <Tooltip labelFormatter={(hour) => timeInWords(String(hour))} {...TOOLTIP} />
          <Legend wrapperStyle={{ fontSize: 12 }} />
          <Line dataKey="ready" stroke={COLORS.warn} isAnimationActive={false} />
          <Line dataKey="delayed" stroke={COLORS.quiet} isAnimationActive={false} />
          <Line dataKey="running" stroke={COLORS.accent} isAnimationActive={false} />
        </LineChart>
      </Chart>
      <Chart title="Errors by type" isEmpty={errors.length === 0} empty="No run has failed.">
        <BarChart data={errors.slice(0, 10)} layout="vertical" accessibilityLayer>
          <XAxis type="number" allowDecimals={false} fontSize={11} stroke={COLORS.quiet} />
          <YAxis type="category" dataKey="error_code" width={110} fontSize={11} stroke={COLORS.quiet} />
          <Tooltip {...TOOLTIP} />
          <Bar dataKey="runs" fill={COLORS.bad} isAnimationActive={false} maxBarSize={48} />
        </BarChart>
      </Chart>
    </div>
  )
}

interface ChartProps {
  title: string
  isEmpty: boolean
  empty?: string
  children: ReactElement
}

function Chart({ title, isEmpty, empty = 'Nothing is counted yet. Runs count a few minutes after they have ended.', children }: ChartProps) {
  return (
    <Card title={title}>
      <div className="h-56">
        {isEmpty ? (
          <Empty className="grid h-full place-content-center text-center">{empty}</Empty>
        ) : (
          <ResponsiveContainer initialDimension={{ width: 320, height: 224 }}>{children}</ResponsiveContainer>
        )}
      </div>
    </Card>
  )
}
