// graphile-worker, with the batching that its documentation recommends for ten jobs at a time and short latency.
// The commands and their timing are those of contender.py.
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(`${process.cwd()}/.local/bench/node/`)
const { Logger, makeWorkerUtils, run } = require('graphile-worker')
const { Pool } = require('pg')

const CONCURRENCY = Number(process.env.BENCH_CONCURRENCY ?? 10)
const WARM_UPS = 10

const [command, dsn, count] = process.argv.slice(2)
const jobs = Number(count ?? 0)
const pool = new Pool({ connectionString: dsn, max: Math.min(CONCURRENCY + 2, 30) })
const database = new Pool({ connectionString: dsn, max: 1 })
const logger = new Logger(() => (level, message) => level === 'error' && console.error(message))
const utils = await makeWorkerUtils({ pgPool: pool, logger })

async function untilEmpty() {
  const query = 'select not exists (select from graphile_worker._private_jobs) as is_empty'
  while (!(await database.query(query)).rows[0].is_empty) await sleep(5)
}

const working = (onStart) =>
  run({
    pgPool: pool,
    logger,
    noHandleSignals: true,
    taskList: { nothing: async () => onStart() },
    preset: {
      worker: {
        concurrentJobs: CONCURRENCY,
        localQueue: { size: CONCURRENCY + 1 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  })

async function throughput() {
  await utils.addJobs(Array.from({ length: jobs }, () => ({ identifier: 'nothing', payload: {} })))
  let started = 0
  let first
  const { promise: lastStarted, resolve } = deferred()
  const runner = await working(() => {
    first ??= performance.now()
    if (++started === jobs) resolve()
  })
  await lastStarted
  await untilEmpty()
  const seconds = (performance.now() - first) / 1000
  await runner.stop()
  if (started !== jobs) throw new Error(`${started} jobs were started, not ${jobs}: the queue was not empty`)
  return jobs / seconds
}

async function latency() {
  let onStart
  const milliseconds = []
  const runner = await working(() => onStart())
  for (let i = 0; i < WARM_UPS + jobs; i++) {
    await sleep(50)
    const { promise: started, resolve } = deferred()
    onStart = () => resolve(performance.now())
    const inserted = performance.now()
    await utils.addJob('nothing', {})
    milliseconds.push((await started) - inserted)
    await untilEmpty()
  }
  await runner.stop()
  return milliseconds.slice(WARM_UPS)
}

function deferred() {
  let resolve
  const promise = new Promise((r) => (resolve = r))
  return { promise, resolve }
}

// It deletes finished jobs: there is no history.
const commands = { install: () => utils.migrate(), history: () => {}, throughput, latency }
const answer = await commands[command]()
await utils.release()
await Promise.all([pool.end(), database.end()])
console.log(JSON.stringify(answer ?? null))
