// A host of the route examples/nextjs/app/api/cron, as Next.js is one. Takes its settings from the first argument and
// commands from standard input, and writes what happens to standard output: JSON, one object a line. It ends with its
// standard input.
import { createInterface } from "node:readline";
import WebSocket from "ws";

globalThis.WebSocket ??= WebSocket; // Node 22 has one

const { bundle, env } = JSON.parse(process.argv[2]);
const tell = (event) => console.log(JSON.stringify(event));
console.error = (...lines) => tell({ logged: lines.map((line) => line?.message ?? String(line)).join(" ") });
Object.assign(process.env, env);
const route = await import(bundle);

async function call(headers) {
  const began = performance.now();
  const response = await route.GET(new Request("http://127.0.0.1/api/cron", { headers }));
  const { status } = response;
  const text = await response.text();
  return {
    status,
    cache: response.headers.get("cache-control"),
    retryAfter: response.headers.get("retry-after"),
    body: JSON.parse(text),
    ms: performance.now() - began,
  };
}

const commands = {
  exports: () => Object.keys(route),
  call: (headers) => call(headers),
  calls: (all) => Promise.all(all.map(call)),
  set: (changes) => {
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) delete process.env[name];
      else process.env[name] = value;
    }
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const [name, argument] = JSON.parse(line);
  tell({ done: name, result: (await commands[name](argument)) ?? null });
}
process.exit(0);
