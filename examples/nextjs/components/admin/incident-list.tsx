import type { Incidents } from '@/lib/search'
import { timeInWords } from '@/lib/words'
import { Badge } from '../ui/badge'
import { Card } from '../ui/card'

export function IncidentList({ incidents: { incidents } }: { incidents: Incidents }) {
  return (
    <Card title="Incidents" className={incidents.length ? 'border-bad' : undefined}>
      {incidents.length === 0 && <p className="text-sm text-good">No incident is open.</p>}
      <ul className="flex flex-col gap-2 text-sm">
        {incidents.map((incident) => (
          <li key={incident.id} className="flex flex-wrap items-center gap-2">
            <Badge tone="bad">{incident.rule}</Badge>
            {incident.subject && <span className="font-medium">{incident.subject}</span>}
            <span>{incident.detail}</span>
            <span className="text-quiet">since {timeInWords(incident.opened_at)} UTC</span>
            {incident.error && <span className="text-warn">The notice could not be sent: {incident.error}</span>}
          </li>
        ))}
      </ul>
    </Card>
  )
}
