// Channels of supabase-js that send and receive broadcasts. Takes its settings from the first argument and commands from
// standard input, and writes what happens to standard output: JSON, one object a line. It ends with its standard input.
import { createInterface } from "node:readline";
import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";

const { url, key, token, channels } = JSON.parse(process.argv[2]);
const tell = (event) => console.log(JSON.stringify(event));

const client = createClient(url, key, {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { transport: WebSocket },
});
if (token) await client.realtime.setAuth(token);

const joined = {};
for (const [name, config] of Object.entries(channels)) {
  joined[name] = client
    .channel(name, { config })
    .on("broadcast", { event: "*" }, (message) => tell({ heard: name, message: shown(message) }));
}
const shown = (message) =>
  message.payload instanceof ArrayBuffer ? { ...message, payload: [...new Uint8Array(message.payload)] } : message;

const commands = {
  subscribe: (name) => new Promise((resolve) => joined[name].subscribe((state, error) => resolve([state, error?.message]))),
  send: ([name, event, payload]) => joined[name].send({ type: "broadcast", event, payload }),
  bytes: ([name, event, bytes]) =>
    joined[name].send({ type: "broadcast", event, payload: new Uint8Array(bytes).buffer }),
  http: ([name, event, payload]) => joined[name].httpSend(event, payload),
};
for await (const line of createInterface({ input: process.stdin })) {
  const [name, argument] = JSON.parse(line);
  const result = await commands[name](argument).catch((error) => ({ error: error.message }));
  tell({ done: name, result: result ?? null });
}
process.exit(0);
