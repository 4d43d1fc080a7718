// A frontend's way through a search, as docs/frontend.md shows it: sign in, insert, watch, read what was found. Writes what
// happens to standard output: JSON, one object a line.
import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";

const { url, key, email, parameters } = JSON.parse(process.argv[2]);
const tell = (event) => console.log(JSON.stringify(event));

const supabase = createClient(url, key, {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { transport: WebSocket },
});
await supabase.auth.signUp({ email, password: "correct horse" });

const refused = await supabase.from("search_runs").insert({ kind: "jobs", parameters: { search_term: "" } });
tell({ refused: refused.status, code: refused.error.code, message: refused.error.message });

const { data: run } = await supabase.from("search_runs").insert({ kind: "jobs", parameters }).select().single();
tell({ enqueued: run.id, status: run.status });

const ended = new Promise((resolve) => {
  const show = async (changed) => {
    tell({ status: changed.status, progress: changed.progress_current, found: changed.items_found });
    const { data: sites } = await supabase.from("run_sites").select("*").eq("run_id", run.id).order("position");
    for (const { site, status } of sites) tell({ site, status });
    if (changed.completed_at) resolve();
  };
  supabase
    .channel(`run-${run.id}`)
    .on(
      "postgres_changes",
      { event: "*", schema: "public", table: "search_runs", filter: `id=eq.${run.id}` },
      ({ new: changed }) => show(changed),
    )
    .on("system", {}, async ({ status }) => {
      tell({ system: status });
      const { data } = await supabase.from("search_runs").select("*").eq("id", run.id).single();
      show(data);
    })
    .subscribe();
});
await ended;

const { data: items, count } = await supabase
  .from("run_items")
  .select("*", { count: "exact" })
  .eq("run_id", run.id)
  .order("page_number")
  .order("position")
  .limit(5);
tell({ items: count, first: items.map(({ title, site, is_new }) => ({ title, site, is_new })) });
process.exit(0);
