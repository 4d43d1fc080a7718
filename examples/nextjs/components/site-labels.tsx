'use client'

import { createContext, useContext, type ReactNode } from 'react'
import type { SiteLabels } from '@/lib/search'

const SiteLabelsContext = createContext<SiteLabels>({})

/** Says to the components below what people call each site. */
export function SiteLabelsProvider({ labels, children }: { labels: SiteLabels; children: ReactNode }) {
  return <SiteLabelsContext value={labels}>{children}</SiteLabelsContext>
}

export function useSiteLabels(): SiteLabels {
  return useContext(SiteLabelsContext)
}

/** A site, as people call it. */
export function SiteLabel({ site }: { site: string }) {
  return <>{useSiteLabels()[site] ?? site}</>
}
