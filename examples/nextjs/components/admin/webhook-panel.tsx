'use client'

import { useRouter } from 'next/navigation'
import { useState } from 'react'
import { replayWebhooks, type Webhooks } from '@/lib/search'
import { messageOf, timeInWords } from '@/lib/words'
import { useSupabase } from '../supabase-provider'
import { Button } from '../ui/button'
import { Problem } from '../ui/card'
import { Table } from '../ui/table'

/** The endpoints, and the messages that could not be delivered, which can be sent again. */
export function WebhookPanel({ webhooks: { endpoints, dead } }: { webhooks: Webhooks }) {
  const supabase = useSupabase()
  const router = useRouter()
  const [problem, setProblem] = useState<string | null>(null)
  const [notice, setNotice] = useState<string | null>(null)

  async function replay(endpoint: string, messageId?: string): Promise<void> {
    setProblem(null)
    try {
      const count = await replayWebhooks(supabase, endpoint, messageId)
      setNotice(`${count} ${count === 1 ? 'message is' : 'messages are'} sent again.`)
      router.refresh()
    } catch (failure) {
      setProblem(messageOf(failure))
    }
  }

  const endpointRows = endpoints.map((endpoint) => ({
    key: endpoint.name,
    cells: [
      endpoint.name,
      endpoint.events.join(', '),
      endpoint.disabled_at ? `disabled: ${endpoint.disabled_reason}` : 'enabled',
      endpoint.waiting,
      endpoint.dead,
      endpoint.last_delivered_at ? `${timeInWords(endpoint.last_delivered_at)} UTC` : '',
      <Button key="replay" size="small" disabled={!endpoint.dead} onClick={() => replay(endpoint.name)}>
        Send dead ones again
      </Button>,
    ],
  }))
  const deadRows = dead.map((message) => ({
    key: message.id,
    cells: [
      message.endpoint,
      message.event,
      `${timeInWords(message.created_at)} UTC`,
      message.error,
      <Button key="replay" size="small" onClick={() => replay(message.endpoint, message.id)}>
        Send again
      </Button>,
    ],
  }))
  return (
    <div className="flex flex-col gap-3">
      {problem && <Problem>{problem}</Problem>}
      {notice && (
        <p role="status" className="text-sm text-good">
          {notice}
        </p>
      )}
      <Table caption="Endpoints" heads={['Endpoint', 'Events', 'State', 'Waiting', 'Dead', 'Last delivered', 'Action']} rows={endpointRows} empty="No endpoint is configured." />
      {endpoints.length > 0 && <Table caption="Messages that could not be delivered" heads={['Endpoint', 'Event', 'Created', 'Why', 'Action']} rows={deadRows} empty="No message is dead." />}
    </div>
  )
}
