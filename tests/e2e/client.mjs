// A frontend that uses examples/nextjs/lib/search. Takes its settings from the first argument and commands from standard
// input, and writes what happens to standard output: JSON, one object a line. It ends with its standard input.
import { createInterface } from "node:readline";
import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";

const { url, key, token, bundle, haste = 1 } = JSON.parse(process.argv[2]);
const tell = (event) => console.log(JSON.stringify(event));

// How long the client pauses before it reads again; in haste it pauses for a part of that.
const wait = globalThis.setTimeout;
globalThis.setTimeout = (call, pause, ...rest) => {
  if (call.name === "readNow") tell({ pause });
  return wait(call, call.name === "readNow" ? pause / haste : pause, ...rest);
};
const search = await import(bundle);

// Whether the API fails, and what requests wait for if they are held.
let isDown = false;
let held;
let release;

let accessToken = token;
const client = createClient(url, key, {
  accessToken: async () => accessToken,
  global: {
    fetch: async (...request) => {
      if (isDown) return new Response(JSON.stringify({ message: "down" }), { status: 500 });
      if (held) tell({ held: true });
      await held;
      return fetch(...request);
    },
  },
  realtime: { transport: WebSocket },
});

const complain = (error) => tell({ error: error.message });
let stop;
const commands = {
  down: () => void (isDown = true),
  up: () => void (isDown = false),
  hold: () => void (held = new Promise((resolve) => (release = resolve))),
  release: () => release(),
  stop: () => stop(),
  token: (newToken) => void (accessToken = newToken),
  enqueue: ([kind, parameters]) => search.enqueue(client, kind, parameters),
  cancel: (runId) => search.cancel(client, runId),
  rerun: (runId) => search.rerun(client, runId),
  active: () => search.activeRun(client),
  runs: () => search.runs(client),
  page: ([runId, options]) => search.pageOfItems(client, runId, options),
  insights: (runId) => search.insightsOf(client, runId),
  save: ([name, kind, parameters]) => search.saveSearch(client, name, kind, parameters),
  saved: () => search.savedSearches(client),
  forget: (id) => search.deleteSavedSearch(client, id),
  watch: (runId) => {
    const show = ({ run, sites }) =>
      tell({
        state: run.status,
        progress: run.progress_current,
        sites: Object.fromEntries(sites.map((site) => [site.site, site.status])),
      });
    stop = search.watchRun(client, runId, show, complain);
  },
  watchRuns: (userId) => {
    const show = (runs) => tell({ runs: runs.map((run) => [run.id, run.status]) });
    search.watchRuns(client, userId, show, complain);
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const [name, argument] = JSON.parse(line);
  try {
    tell({ done: name, result: (await commands[name](argument)) ?? null });
  } catch (error) {
    tell({ done: name, failed: error.message });
  }
}
process.exit(0);
