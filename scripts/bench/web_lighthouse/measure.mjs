// Measures pages with Lighthouse, as on a phone of the middle class with a slow connection: its default. Reads what to
// measure from stdin, and writes one line of JSON for each page.
import { text } from 'node:stream/consumers'
import lighthouse from 'lighthouse'
import puppeteer from 'puppeteer-core'

const { chromium, options, address, cookie, pages, times } = JSON.parse(await text(process.stdin))

const browser = await puppeteer.launch({ executablePath: chromium, args: options })
try {
  for (const { name, path, isSignedIn } of pages) console.log(JSON.stringify({ name, ...(await median(path, isSignedIn)) }))
} finally {
  await browser.close()
}

/** Returns the measurement whose performance is the middle one. */
async function median(path, isSignedIn) {
  const measured = []
  for (let time = 0; time < times; time++) measured.push(await measure(path, isSignedIn))
  measured.sort((one, other) => one.performance - other.performance)
  return measured[Math.floor(times / 2)]
}

async function measure(path, isSignedIn) {
  const context = await browser.createBrowserContext()
  try {
    const page = await context.newPage()
    if (isSignedIn) await context.setCookie({ ...cookie, domain: new URL(address).hostname, path: '/' })
    // The cookies are the session.
    const { lhr } = await lighthouse(address + path, { disableStorageReset: true, logLevel: 'error' }, undefined, page)
    if (lhr.runtimeError) throw new Error(lhr.runtimeError.message)
    if (new URL(lhr.finalDisplayedUrl).pathname !== path) throw new Error(`${path} has led to ${lhr.finalDisplayedUrl}`)
    return figuresOf(lhr)
  } finally {
    await context.close()
  }
}

function figuresOf({ categories, audits }) {
  const score = (name) => Math.round(100 * categories[name].score)
  const value = (name) => audits[name].numericValue
  const requests = audits['network-requests'].details.items
  const kilobytes = (isCounted) => requests.filter(isCounted).reduce((sum, { transferSize }) => sum + transferSize, 0) / 1000
  const findings = Object.values(categories)
    .flatMap(({ auditRefs }) => auditRefs)
    .map(({ id }) => audits[id])
    .filter(({ score, scoreDisplayMode }) => score !== null && score < 0.9 && scoreDisplayMode !== 'informative')
  return {
    performance: score('performance'),
    accessibility: score('accessibility'),
    best_practices: score('best-practices'),
    seo: score('seo'),
    fcp_ms: value('first-contentful-paint'),
    lcp_ms: value('largest-contentful-paint'),
    tbt_ms: value('total-blocking-time'),
    cls: value('cumulative-layout-shift'),
    kilobytes: kilobytes(() => true),
    script_kilobytes: kilobytes(({ resourceType }) => resourceType === 'Script'),
    findings: [...new Set(findings.map(({ id }) => id))],
  }
}
