import type { ComponentProps, ReactNode } from 'react'
import { classes } from '@/lib/classes'

export function Card({ title, actions, className, children, ...rest }: Omit<ComponentProps<'section'>, 'title'> & { title?: ReactNode; actions?: ReactNode }) {
  return (
    <section className={classes('rounded-lg border border-line bg-surface p-4', className)} {...rest}>
      {title && (
        <div className="mb-3 flex flex-wrap items-center justify-between gap-2">
          <h2 className="text-base font-semibold">{title}</h2>
          {actions}
        </div>
      )}
      {children}
    </section>
  )
}

/** What a list shows without rows. */
export function Empty({ className, children }: { className?: string; children: ReactNode }) {
  return <p className={classes('rounded-md bg-raised p-4 text-sm text-quiet', className)}>{children}</p>
}

/** What went wrong, as a sentence. */
export function Problem({ children }: { children: ReactNode }) {
  return (
    <p role="alert" className="rounded-md border border-bad bg-raised p-3 text-sm text-bad">
      {children}
    </p>
  )
}
