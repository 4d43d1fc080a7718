'use client'

import { Button } from '@/components/ui/button'
import { Problem } from '@/components/ui/card'

/** What is shown instead of a page that failed. `retry` asks the server for it again. */
export default function ErrorPage({ retry }: { retry: () => void }) {
  return (
    <div className="flex flex-col items-start gap-3">
      <Problem>The page could not be loaded. The server may not be reachable at the moment.</Problem>
      <Button onClick={retry}>Try again</Button>
    </div>
  )
}
