// A frontend whose user asks for what was searched for a moment ago: the insert is the answer. Reads what was found, and
// what is like it. Writes what happens to standard output: JSON, one object a line.
import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";

const { url, key, email, parameters } = JSON.parse(process.argv[2]);
const tell = (event) => console.log(JSON.stringify(event));

const supabase = createClient(url, key, {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { transport: WebSocket },
});
await supabase.auth.signUp({ email, password: "correct horse" });

const { data: run } = await supabase.from("search_runs").insert({ kind: "jobs", parameters }).select().single();
tell({ status: run.status, found: run.jobs_found, shared: run.shared_run_id, completed: run.completed_at });

const { data: items } = await supabase
  .from("run_items")
  .select("item_id, title, site, sites, is_new")
  .eq("run_id", run.id)
  .order("page_number")
  .order("position");
tell({ items });

const [{ item_id }] = items;
const { data: similar } = await supabase.rpc("similar_items", { item_id, limit: 3 });
tell({ similar });

const { data: embedded } = await supabase.from("item_embeddings").select("embedding").eq("item_id", item_id).single();
const query_embedding = JSON.parse(embedded.embedding);
const { data: matches } = await supabase.rpc("match_items", { query_embedding, kind: "jobs", limit: 4 });
tell({ matches });

const { data: fresh } = await supabase
  .from("search_runs")
  .insert({ kind: "jobs", parameters, fresh: true })
  .select()
  .single();
tell({ status: fresh.status, shared: fresh.shared_run_id });
process.exit(0);
