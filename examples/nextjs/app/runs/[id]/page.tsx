import type { Metadata } from 'next'
import { notFound } from 'next/navigation'
import { RunView } from '@/components/run-view'
import { SiteLabelsProvider } from '@/components/site-labels'
import { insightsOf, pageOfItems, readRun, searchOptions, siteLabelsOf } from '@/lib/search'
import { serverClient, signedIn } from '@/lib/supabase/server'
import { resultsQueryOf } from '@/lib/results-query'
import { titleOf } from '@/lib/words'

interface Props {
  params: Promise<{ id: string }>
  searchParams: Promise<Record<string, string | string[] | undefined>>
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

export const metadata: Metadata = { title: 'Run' }

export default async function Page({ params, searchParams }: Props) {
  const { id } = await params
  const client = await serverClient()
  await signedIn(client)
  const state = UUID.test(id) ? await readRun(client, id) : null
  if (!state) notFound()
  const query = resultsQueryOf(await searchParams)
  const [page, insights, kinds] = await Promise.all([pageOfItems(client, id, query), insightsOf(client, id), searchOptions(client)])
  return (
    <SiteLabelsProvider labels={siteLabelsOf(kinds)}>
      <title>{`${titleOf(state.run)} · Search`}</title>
      <RunView initial={state} initialPage={page} initialQuery={query} initialInsights={insights} />
    </SiteLabelsProvider>
  )
}
