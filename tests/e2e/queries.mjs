// What a frontend asks of its searches with supabase-js. Inserts two of them, asks, and writes the answers to standard
// output: JSON, one object a line.
import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";

const { url, key, email } = JSON.parse(process.argv[2]);
const supabase = createClient(url, key, {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { transport: WebSocket },
});
await supabase.auth.signUp({ email, password: "correct horse" });

const runs = () => supabase.from("search_runs");
const searches = [
  { search_term: "nurse", sites: ["indeed"] },
  { search_term: "engineer", sites: ["linkedin", "indeed"] },
];
for (const parameters of searches) await runs().insert({ kind: "jobs", parameters }).throwOnError();

const queries = {
  jsonFilter: runs().select("status, term:parameters->>search_term").eq("parameters->>search_term", "nurse"),
  jsonOrder: runs().select("parameters->>search_term").order("parameters->>search_term"),
  jsonOr: runs().select("parameters->sites->>0").or("parameters->>search_term.eq.engineer,parameters->sites->>1.eq.x"),
  jsonIndex: runs().select("first:parameters->sites->0").eq("parameters->sites->>0", "linkedin"),
  embedded: runs()
    .select("term:parameters->>search_term, search_run_sites(site, status)")
    .order("parameters->>search_term")
    .order("site", { referencedTable: "search_run_sites" })
    .limit(1, { referencedTable: "search_run_sites" }),
  inner: runs().select("term:parameters->>search_term, search_run_sites!inner(site)").eq("search_run_sites.site", "linkedin"),
  outer: supabase.from("search_run_sites").select("site, search_runs(kind, parameters->>search_term)").order("site"),
  byColumn: supabase.from("search_run_sites").select("site, run:run_id(kind)").order("site").limit(1),
  withoutResults: runs().select("id, search_results()").is("search_results", null).order("created_at"),
  nested: runs().select("search_results(position, items(title))").limit(1),
  search: runs().select("id").textSearch("parameters->>search_term", "engineering", { config: "english", type: "plain" }),
  anyOf: runs().select("term:parameters->>search_term").likeAnyOf("parameters->>search_term", ["nur%", "x%"]),
  estimated: runs().select("id", { count: "estimated", head: true }),
  planned: runs().select("id", { count: "planned", head: true }),
  csv: runs().select("status, parameters->>search_term").order("parameters->>search_term").csv(),
  unknown: runs().select("...search_run_sites(site)"),
};
for (const [name, query] of Object.entries(queries)) {
  const { data, count, error } = await query;
  console.log(JSON.stringify({ name, data, count, error: error && { code: error.code, message: error.message } }));
}
const recovery = await supabase.auth.resetPasswordForEmail(email);
const otp = await supabase.auth.signInWithOtp({ email: "nobody@example.com", options: { shouldCreateUser: false } });
for (const [name, { error }] of Object.entries({ recovery, otp })) {
  console.log(JSON.stringify({ name, error: { code: error.code, message: error.message, status: error.status } }));
}
process.exit(0);
