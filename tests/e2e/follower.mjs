// A frontend whose user asks for what is searched for already: insert, watch the run, read its sites and what was found. Writes what happens to standard output: JSON, one object a line.
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
tell({ inserted: run.id, status: run.status, leader: run.leader_run_id });

await new Promise((resolve) => {
  supabase
    .channel(`run-${run.id}`)
    .on(
      "postgres_changes",
      { event: "UPDATE", schema: "public", table: "search_runs", filter: `id=eq.${run.id}` },
      ({ new: changed }) => {
        tell({ status: changed.status, found: changed.jobs_found, step: changed.progress.step, shared: changed.shared_run_id });
        if (changed.completed_at) resolve();
      },
    )
    .on("system", {}, ({ status }) => tell({ system: status }))
    .subscribe();
});

const { data: sites } = await supabase.from("run_sites").select("site, status").eq("run_id", run.id).order("position");
for (const { site, status } of sites) tell({ site, status });
const { count } = await supabase
  .from("run_items")
  .select("item_id", { count: "exact", head: true })
  .eq("run_id", run.id);
const { data: leaders } = await supabase.from("search_runs").select("id").eq("id", run.leader_run_id);
tell({ items: count, leaders: leaders.length });
process.exit(0);
