'use client'

import { Progress as Primitive } from 'radix-ui'

export function Progress({ value, label }: { value: number; label: string }) {
  return (
    <Primitive.Root value={value} aria-label={label} className="h-2 w-full overflow-hidden rounded-full bg-raised">
      <Primitive.Indicator className="h-full bg-accent transition-[width]" style={{ width: `${value}%` }} />
    </Primitive.Root>
  )
}
