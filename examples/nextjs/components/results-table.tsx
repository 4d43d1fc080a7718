'use client'

import { tableFeatures, useTable, type ColumnDef } from '@tanstack/react-table'
import dynamic from 'next/dynamic'
import { Fragment, useState } from 'react'
import type { PageOfItems } from '@/lib/search'
import { payInWords } from '@/lib/words'
import { useSiteLabels } from './site-labels'
import { Badge } from './ui/badge'

// Markdown is a sixth of the script of this page, and most rows stay closed.
const Description = dynamic(() => import('./description').then((module) => module.Description), { loading: () => <p className="min-h-24 text-quiet">Loading …</p> })

type Item = PageOfItems['items'][number]
type Sort = 'found' | 'posted' | 'pay'

interface Sighting {
  site: string
  url: string
}

const features = tableFeatures({})

const columns: ColumnDef<typeof features, Item>[] = [
  { id: 'title', header: 'Title', cell: ({ row }) => <Title item={row.original} /> },
  { id: 'organization', header: 'Organization', cell: ({ row }) => row.original.organization },
  { id: 'location', header: 'Location', cell: ({ row }) => placeOf(row.original) },
  { id: 'pay', header: 'Pay', cell: ({ row }) => payInWords(row.original) },
  { id: 'posted', header: 'Posted', cell: ({ row }) => row.original.posted_at?.slice(0, 10) },
  { id: 'sites', header: 'Sites', cell: ({ row }) => <Sites item={row.original} /> },
]

// A phone shows them below the title.
const NOT_ON_PHONES = 'hidden p-2 break-words md:table-cell'

interface Props {
  runId: string
  items: Item[]
  sort: Sort
  onSort: (sort: Sort) => void
}

/** A page of results. A row opens its description. */
export function ResultsTable({ runId, items, sort, onSort }: Props) {
  const table = useTable({ features, columns, data: items, getRowId: (item) => item.item_id ?? `${item.site} ${item.page_number} ${item.position}` })
  const [open, setOpen] = useState<string | null>(null)
  return (
    <div className="relative overflow-x-auto">
      <table className="w-full text-left text-sm md:min-w-3xl md:table-fixed">
        <caption className="sr-only">What the search has found</caption>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id} className="border-b border-line">
              {group.headers.map(({ id, column }) => (
                <th key={id} scope="col" className={id === 'title' ? 'p-2 md:w-2/6' : NOT_ON_PHONES} aria-sort={sort === id ? 'descending' : undefined}>
                  {id === 'posted' || id === 'pay' ? (
                    <button type="button" className="cursor-pointer underline" onClick={() => onSort(sort === id ? 'found' : id)}>
                      {String(column.columnDef.header)}
                      {sort === id && ' ↓'}
                    </button>
                  ) : (
                    String(column.columnDef.header)
                  )}
                </th>
              ))}
              <th scope="col" className="w-24 p-2">
                <span className="sr-only">Description</span>
              </th>
            </tr>
          ))}
        </thead>
        <tbody>
          {table.getRowModel().rows.map((row) => (
            <Fragment key={row.id}>
              <tr className="border-b border-line align-top">
                {row.getAllCells().map((cell) => (
                  <td key={cell.id} className={cell.column.id === 'title' ? 'p-2 break-words' : NOT_ON_PHONES}>
                    <table.FlexRender cell={cell} />
                  </td>
                ))}
                <td className="p-2">
                  <button type="button" className="cursor-pointer text-accent underline" aria-expanded={open === row.id} onClick={() => setOpen(open === row.id ? null : row.id)}>
                    {open === row.id ? 'Close' : 'Details'}
                    <span className="sr-only"> of {row.original.title}</span>
                  </button>
                </td>
              </tr>
              {open === row.id && row.original.item_id && (
                <tr className="border-b border-line">
                  <td colSpan={columns.length + 1} className="p-2">
                    <Description runId={runId} itemId={row.original.item_id} />
                  </td>
                </tr>
              )}
            </Fragment>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function Title({ item }: { item: Item }) {
  return (
    <>
      <SafeLink url={item.url}>{item.title}</SafeLink> {item.is_new && <Badge tone="accent">new</Badge>}
      <span className="mt-1 block text-quiet md:hidden">
        {[item.organization, placeOf(item), payInWords(item), item.posted_at?.slice(0, 10)].filter(Boolean).join(' · ')}
        <Sites item={item} />
      </span>
    </>
  )
}

function placeOf(item: Item): string {
  return [item.location, item.work_mode && item.work_mode !== 'onsite' ? item.work_mode : null].filter(Boolean).join(', ')
}

function Sites({ item }: { item: Item }) {
  const labels = useSiteLabels()
  const sightings = (item.sites as Sighting[] | null) ?? [{ site: item.site, url: item.url }]
  return (
    <span className="flex flex-wrap gap-x-2">
      {sightings.map(({ site, url }) => (
        <SafeLink key={`${site} ${url}`} url={url}>
          {labels[site] ?? site}
        </SafeLink>
      ))}
    </span>
  )
}

/** A link to a site. Addresses come from sites: only http and https are links. */
function SafeLink({ url, children }: { url: string; children: string }) {
  if (!/^https?:\/\//i.test(url)) return <>{children}</>
  return (
    <a href={url} target="_blank" rel="noopener noreferrer nofollow" className="text-accent underline">
      {children}
    </a>
  )
}
