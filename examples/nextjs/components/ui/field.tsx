import type { ComponentProps, ReactNode } from 'react'
import { classes } from '@/lib/classes'

const CONTROL = 'h-9 w-full rounded-md border border-line bg-surface px-3 text-sm text-ink aria-invalid:border-bad'

export function Input({ className, ...rest }: ComponentProps<'input'>) {
  return <input className={classes(CONTROL, className)} {...rest} />
}

export function Select({ className, ...rest }: ComponentProps<'select'>) {
  return <select className={classes(CONTROL, 'pr-2', className)} {...rest} />
}

interface FieldProps {
  id: string
  label: string
  hint?: string
  error?: string
  children: ReactNode
}

/** A label above a control, and below it a hint or what is wrong. The control names `${id}-note` as its description. */
export function Field({ id, label, hint, error, children }: FieldProps) {
  return (
    <div className="flex flex-col gap-1">
      <label htmlFor={id} className="text-sm font-medium">
        {label}
      </label>
      {children}
      <p id={`${id}-note`} className={classes('min-h-4 text-xs', error ? 'text-bad' : 'text-quiet')} role={error ? 'alert' : undefined}>
        {error ?? hint}
      </p>
    </div>
  )
}
