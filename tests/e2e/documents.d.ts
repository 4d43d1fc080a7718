// What the TypeScript of README.md and docs/ takes from the frontend around it.
import type { SupabaseClient } from "@supabase/supabase-js";
import type { Database, Json } from "../../supabase/types";

declare global {
  const supabase: SupabaseClient<Database>;
  const run_id: string, item_id: string, kind: string, idempotency_key: string, query_embedding: string, sort: string;
  const page: number, per_page: number;
  const fresh: boolean;
  const organizationIds: string[];
  const parameters: Json, client_context: Json, filters: Json;
  function show(state: unknown): void;
}
