import Link from 'next/link'

export default function NotFound() {
  return (
    <div className="flex flex-col gap-2">
      <h1 className="text-xl font-semibold">There is nothing here</h1>
      <p className="text-sm text-quiet">The page does not exist, or it belongs to somebody else.</p>
      <Link href="/" className="text-accent underline">
        To the search
      </Link>
    </div>
  )
}
