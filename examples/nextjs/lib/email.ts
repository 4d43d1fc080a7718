export interface Email {
  to: string
  subject: string
  text: string
}

const REQUEST_MS = 10_000

/**
 * Sends an e-mail through an HTTP API that takes what Resend's takes: `{from, to, subject, text}` with a bearer token.
 * This is the only place that knows it: change it for another provider.
 *
 * @param idempotencyKey The same key never sends a second e-mail.
 */
export async function sendEmail({ to, subject, text }: Email, idempotencyKey: string): Promise<void> {
  const { EMAIL_API_URL: url, EMAIL_API_KEY: key, EMAIL_FROM: from } = process.env
  if (!url || !key || !from) throw new Error('EMAIL_API_URL, EMAIL_API_KEY and EMAIL_FROM must be set.')
  const response = await fetch(url, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json', 'Idempotency-Key': idempotencyKey },
    body: JSON.stringify({ from, to: [to], subject, text }),
    signal: AbortSignal.timeout(REQUEST_MS),
    redirect: 'error',
  })
  if (!response.ok) throw new Error(`The e-mail was refused with status ${response.status}.`)
}
