import type { ReactNode } from 'react'
import { Empty } from './card'

interface Props {
  caption: string
  heads: string[]
  rows: { key: string; cells: ReactNode[] }[]
  empty: string
}

/** A table that scrolls in itself where the screen is narrow. */
export function Table({ caption, heads, rows, empty }: Props) {
  if (!rows.length) return <Empty>{empty}</Empty>
  return (
    <div className="overflow-x-auto" tabIndex={0} role="region" aria-label={caption}>
      <table className="w-full text-left text-sm">
        <caption className="sr-only">{caption}</caption>
        <thead>
          <tr className="border-b border-line">
            {heads.map((head) => (
              <th key={head} scope="col" className="p-2 whitespace-nowrap">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ key, cells }) => (
            <tr key={key} className="border-b border-line align-top">
              {cells.map((cell, index) => (
                <td key={heads[index]} className="p-2 tabular-nums">
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
