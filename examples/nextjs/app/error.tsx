'use client'

import { Button } from '@/components/ui/button'
import { Problem } from '@/components/ui/card'

export default function ErrorPage({ reset }: { error: Error; reset: () => void }) {
  return (
    <div className="flex flex-col items-start gap-3">
      <Problem>The page could not be loaded. The server may not be reachable at the moment.</Problem>
      <Button onClick={reset}>Try again</Button>
    </div>
  )
}
