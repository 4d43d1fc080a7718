import { cva, type VariantProps } from 'class-variance-authority'
import type { ComponentProps } from 'react'
import { classes } from '@/lib/classes'

const badgeStyle = cva('inline-flex items-center gap-1 rounded-full border border-line px-2 py-0.5 text-xs font-medium whitespace-nowrap', {
  variants: { tone: { quiet: 'text-quiet', accent: 'text-accent', good: 'text-good', warn: 'text-warn', bad: 'text-bad' } },
  defaultVariants: { tone: 'quiet' },
})

export type Tone = NonNullable<VariantProps<typeof badgeStyle>['tone']>

export function Badge({ className, tone, ...rest }: ComponentProps<'span'> & VariantProps<typeof badgeStyle>) {
  return <span className={classes(badgeStyle({ tone }), className)} {...rest} />
}

const TONES: Record<string, Tone> = {
  pending: 'quiet',
  running: 'accent',
  success: 'good',
  completed: 'good',
  partial: 'warn',
  failed: 'bad',
  cancelled: 'quiet',
  skipped: 'quiet',
}

/** The status of a run or a site. */
export function StatusBadge({ status }: { status: string }) {
  return <Badge tone={TONES[status] ?? 'quiet'}>{status}</Badge>
}
