export default function Loading() {
  return <p className="text-sm text-quiet">Loading …</p>
}
