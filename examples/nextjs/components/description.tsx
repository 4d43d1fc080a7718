'use client'

import { useEffect, useState, type ReactNode } from 'react'
import Markdown from 'react-markdown'
import { descriptionOf } from '@/lib/search'
import { messageOf } from '@/lib/words'
import { useSupabase } from './supabase-provider'

/** The description of a thing. It is Markdown of a site: no HTML and no images of it are shown. */
export function Description({ runId, itemId }: { runId: string; itemId: string }) {
  const supabase = useSupabase()
  const [text, setText] = useState<string | null>(null)
  useEffect(() => {
    let isCurrent = true
    descriptionOf(supabase, runId, itemId).then(
      (read) => isCurrent && setText(read ?? 'The site has sent no description.'),
      (failure) => isCurrent && setText(messageOf(failure)),
    )
    return () => {
      isCurrent = false
    }
  }, [supabase, runId, itemId])
  if (text === null) return <p className="min-h-24 text-quiet">Loading …</p>
  return (
    <div className="max-h-96 max-w-3xl overflow-y-auto rounded-md bg-raised p-4 leading-relaxed [&_li]:ml-5 [&_li]:list-disc [&_p]:my-2" tabIndex={0} role="region" aria-label="Description">
      <Markdown skipHtml disallowedElements={['img']} components={{ a: Link }}>
        {text}
      </Markdown>
    </div>
  )
}

/** react-markdown has emptied the addresses that are not safe. An empty one would lead to this page. */
function Link({ href, children }: { href?: string; children?: ReactNode }) {
  if (!href) return <>{children}</>
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow" className="text-accent underline">
      {children}
    </a>
  )
}
