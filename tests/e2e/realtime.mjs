// One channel of supabase-js. Takes its settings from the first argument and commands from standard input, and writes
// what happens to standard output: JSON, one object a line. It ends with its standard input.
import { createInterface } from "node:readline";
import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";

const { url, key, token, bindings } = JSON.parse(process.argv[2]);
const tell = (event) => console.log(JSON.stringify(event));

const client = createClient(url, key, {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { transport: WebSocket },
});
if (token) await client.realtime.setAuth(token);

const channel = client.channel("runs");
channel.on("system", {}, ({ status, message }) => tell({ system: status, message }));
bindings.forEach((binding, index) =>
  channel.on("postgres_changes", binding, (change) => tell({ binding: index, change })),
);
channel.subscribe((state) => tell({ state }));

const commands = {
  refresh: (newToken) => client.realtime.setAuth(newToken),
  broadcast: (payload) => channel.send({ type: "broadcast", event: "x", payload }),
  unsubscribe: () => channel.unsubscribe(),
};
for await (const line of createInterface({ input: process.stdin })) {
  const [name, argument] = JSON.parse(line);
  tell({ done: name, result: (await commands[name](argument)) ?? null });
}
process.exit(0);
