import { cva, type VariantProps } from 'class-variance-authority'
import type { ComponentProps } from 'react'
import { classes } from '@/lib/classes'

export const buttonStyle = cva(
  'inline-flex cursor-pointer items-center justify-center gap-2 rounded-md border text-sm font-medium whitespace-nowrap disabled:cursor-not-allowed disabled:opacity-50',
  {
    variants: {
      look: {
        main: 'border-accent bg-accent text-on-accent hover:opacity-90',
        plain: 'border-line bg-surface text-ink hover:bg-raised',
        danger: 'border-line bg-surface text-bad hover:bg-raised',
      },
      size: { normal: 'h-9 px-4', small: 'h-8 px-3' },
    },
    defaultVariants: { look: 'plain', size: 'normal' },
  },
)

export function Button({ className, look, size, type = 'button', ...rest }: ComponentProps<'button'> & VariantProps<typeof buttonStyle>) {
  return <button type={type} className={classes(buttonStyle({ look, size }), className)} {...rest} />
}
