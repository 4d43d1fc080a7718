// Made by ./scripts/schema with `supabase gen types`. Do not edit.

export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]

export type Database = {
  
  "public": {
          Tables: {
            "item_embeddings": {
                  Row: {
                    "embedded_at": string,"embedding": unknown,"from_named_board": boolean,"item_id": string,"owner_id": string | null
                  }
                  ComputedFields: never
                  Insert: {
                    "embedded_at": string,"embedding": unknown,"from_named_board"?: boolean,"item_id": string,"owner_id"?: string | null
                  }
                  Update: {
                    "embedded_at"?: string,"embedding"?: unknown,"from_named_board"?: boolean,"item_id"?: string,"owner_id"?: string | null
                  }
                  Relationships: [
                    {
      foreignKeyName: "item_embeddings_item_id_fkey"
      columns: ["item_id"]
isOneToOne: true
      referencedRelation: "items"
      referencedColumns: ["id"]
    }
                  ]
                },"item_sources": {
                  Row: {
                    "external_id": string,"first_seen_at": string,"id": number,"item_id": string,"last_seen_at": string,"owner_id": string | null,"site": string,"url": string
                  }
                  ComputedFields: never
                  Insert: {
                    "external_id": string,"first_seen_at": string,"id"?: never,"item_id": string,"last_seen_at": string,"owner_id"?: string | null,"site": string,"url": string
                  }
                  Update: {
                    "external_id"?: string,"first_seen_at"?: string,"id"?: never,"item_id"?: string,"last_seen_at"?: string,"owner_id"?: string | null,"site"?: string,"url"?: string
                  }
                  Relationships: [
                    {
      foreignKeyName: "item_sources_item_id_fkey"
      columns: ["item_id"]
isOneToOne: false
      referencedRelation: "items"
      referencedColumns: ["id"]
    }
                  ]
                },"items": {
                  Row: {
                    "apply_key": string | null,"apply_url": string | null,"canonical_key": string,"city": string | null,"country": string | null,"currency": string | null,"data": NonNullable<Json>,"description": string | null,"duplicate_of": string | null,"experience_years": number | null,"first_seen_at": string,"from_named_board": boolean,"id": string,"is_remote": boolean | null,"job_types": (string)[],"kind": string,"last_seen_at": string,"location": string | null,"match_key": string | null,"organization": string | null,"organization_id": string | null,"organization_key": string | null,"owner_id": string | null,"place_key": string | null,"places": NonNullable<Json>,"posted_at": string | null,"region": string | null,"salary_interval": string | null,"salary_max": number | null,"salary_min": number | null,"salary_yearly_max": number | null,"salary_yearly_min": number | null,"skills": (string)[],"text_signature": unknown,"title": string,"url": string,"work_mode": string | null
                  }
                  ComputedFields: never
                  Insert: {
                    "apply_key"?: string | null,"apply_url"?: string | null,"canonical_key": string,"city"?: string | null,"country"?: string | null,"currency"?: string | null,"data"?: NonNullable<Json>,"description"?: string | null,"duplicate_of"?: string | null,"experience_years"?: number | null,"first_seen_at": string,"from_named_board"?: boolean,"id"?: string,"is_remote"?: boolean | null,"job_types"?: (string)[],"kind": string,"last_seen_at": string,"location"?: string | null,"match_key"?: string | null,"organization"?: string | null,"organization_id"?: never,"organization_key"?: string | null,"owner_id"?: string | null,"place_key"?: string | null,"places"?: NonNullable<Json>,"posted_at"?: string | null,"region"?: string | null,"salary_interval"?: string | null,"salary_max"?: number | null,"salary_min"?: number | null,"salary_yearly_max"?: number | null,"salary_yearly_min"?: number | null,"skills"?: (string)[],"text_signature"?: unknown,"title": string,"url": string,"work_mode"?: string | null
                  }
                  Update: {
                    "apply_key"?: string | null,"apply_url"?: string | null,"canonical_key"?: string,"city"?: string | null,"country"?: string | null,"currency"?: string | null,"data"?: NonNullable<Json>,"description"?: string | null,"duplicate_of"?: string | null,"experience_years"?: number | null,"first_seen_at"?: string,"from_named_board"?: boolean,"id"?: string,"is_remote"?: boolean | null,"job_types"?: (string)[],"kind"?: string,"last_seen_at"?: string,"location"?: string | null,"match_key"?: string | null,"organization"?: string | null,"organization_id"?: never,"organization_key"?: string | null,"owner_id"?: string | null,"place_key"?: string | null,"places"?: NonNullable<Json>,"posted_at"?: string | null,"region"?: string | null,"salary_interval"?: string | null,"salary_max"?: number | null,"salary_min"?: number | null,"salary_yearly_max"?: number | null,"salary_yearly_min"?: number | null,"skills"?: (string)[],"text_signature"?: unknown,"title"?: string,"url"?: string,"work_mode"?: string | null
                  }
                  Relationships: [
                    {
      foreignKeyName: "items_duplicate_of_fkey"
      columns: ["duplicate_of"]
isOneToOne: false
      referencedRelation: "items"
      referencedColumns: ["id"]
    }
                  ]
                },"organizations": {
                  Row: {
                    "address": string | null,"description": string | null,"employees": string | null,"employees_max": number | null,"employees_min": number | null,"id": string,"industry": string | null,"key": string,"logo_url": string | null,"name": string,"owner_id": string | null,"profile_url": string | null,"rating": number | null,"revenue": string | null,"review_count": number | null,"seen_at": NonNullable<Json>,"url": string | null
                  }
                  ComputedFields: never
                  Insert: {
                    "address"?: string | null,"description"?: string | null,"employees"?: string | null,"employees_max"?: never,"employees_min"?: never,"id"?: never,"industry"?: string | null,"key": string,"logo_url"?: string | null,"name": string,"owner_id"?: string | null,"profile_url"?: string | null,"rating"?: number | null,"revenue"?: string | null,"review_count"?: number | null,"seen_at": NonNullable<Json>,"url"?: string | null
                  }
                  Update: {
                    "address"?: string | null,"description"?: string | null,"employees"?: string | null,"employees_max"?: never,"employees_min"?: never,"id"?: never,"industry"?: string | null,"key"?: string,"logo_url"?: string | null,"name"?: string,"owner_id"?: string | null,"profile_url"?: string | null,"rating"?: number | null,"revenue"?: string | null,"review_count"?: number | null,"seen_at"?: NonNullable<Json>,"url"?: string | null
                  }
                  Relationships: [
                    
                  ]
                },"run_events": {
                  Row: {
                    "created_at": string,"data": NonNullable<Json>,"event": string,"id": number,"run_id": string,"site": string | null
                  }
                  ComputedFields: never
                  Insert: {
                    "created_at": string,"data"?: NonNullable<Json>,"event": string,"id"?: never,"run_id": string,"site"?: string | null
                  }
                  Update: {
                    "created_at"?: string,"data"?: NonNullable<Json>,"event"?: string,"id"?: never,"run_id"?: string,"site"?: string | null
                  }
                  Relationships: [
                    {
      foreignKeyName: "run_events_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "run_items"
      referencedColumns: ["run_id"]
    },{
      foreignKeyName: "run_events_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "run_sites"
      referencedColumns: ["run_id"]
    },{
      foreignKeyName: "run_events_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "saved_search_states"
      referencedColumns: ["last_run_id"]
    },{
      foreignKeyName: "run_events_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "search_runs"
      referencedColumns: ["id"]
    }
                  ]
                },"saved_searches": {
                  Row: {
                    "collection": string | null,"created_at": string,"id": string,"kind": string,"name": string,"parameters": NonNullable<Json>,"updated_at": string,"user_id": string,"workspace_id": string | null
                  }
                  ComputedFields: never
                  Insert: {
                    "collection"?: string | null,"created_at"?: string,"id"?: string,"kind": string,"name": string,"parameters": NonNullable<Json>,"updated_at"?: string,"user_id"?: string,"workspace_id"?: string | null
                  }
                  Update: {
                    "collection"?: string | null,"created_at"?: string,"id"?: string,"kind"?: string,"name"?: string,"parameters"?: NonNullable<Json>,"updated_at"?: string,"user_id"?: string,"workspace_id"?: string | null
                  }
                  Relationships: [
                    
                  ]
                },"search_results": {
                  Row: {
                    "created_at": string,"id": string,"item_id": string,"page_number": number,"position": number,"run_id": string,"site": string
                  }
                  ComputedFields: never
                  Insert: {
                    "created_at": string,"id"?: string,"item_id": string,"page_number": number,"position": number,"run_id": string,"site": string
                  }
                  Update: {
                    "created_at"?: string,"id"?: string,"item_id"?: string,"page_number"?: number,"position"?: number,"run_id"?: string,"site"?: string
                  }
                  Relationships: [
                    {
      foreignKeyName: "search_results_item_id_fkey"
      columns: ["item_id"]
isOneToOne: false
      referencedRelation: "items"
      referencedColumns: ["id"]
    },{
      foreignKeyName: "search_results_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "run_items"
      referencedColumns: ["run_id"]
    },{
      foreignKeyName: "search_results_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "run_sites"
      referencedColumns: ["run_id"]
    },{
      foreignKeyName: "search_results_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "saved_search_states"
      referencedColumns: ["last_run_id"]
    },{
      foreignKeyName: "search_results_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "search_runs"
      referencedColumns: ["id"]
    }
                  ]
                },"search_run_sites": {
                  Row: {
                    "attempts": number,"completed_at": string | null,"error_code": string | null,"error_message": string | null,"id": string,"is_fallback": boolean,"jobs_found": number,"position": number,"progress": NonNullable<Json>,"retryable": boolean | null,"run_id": string,"site": string,"started_at": string | null,"status": Database["public"]['Enums']["site_status"]
                  }
                  ComputedFields: never
                  Insert: {
                    "attempts"?: number,"completed_at"?: string | null,"error_code"?: string | null,"error_message"?: string | null,"id"?: string,"is_fallback"?: boolean,"jobs_found"?: number,"position": number,"progress"?: NonNullable<Json>,"retryable"?: boolean | null,"run_id": string,"site": string,"started_at"?: string | null,"status"?: Database["public"]['Enums']["site_status"]
                  }
                  Update: {
                    "attempts"?: number,"completed_at"?: string | null,"error_code"?: string | null,"error_message"?: string | null,"id"?: string,"is_fallback"?: boolean,"jobs_found"?: number,"position"?: number,"progress"?: NonNullable<Json>,"retryable"?: boolean | null,"run_id"?: string,"site"?: string,"started_at"?: string | null,"status"?: Database["public"]['Enums']["site_status"]
                  }
                  Relationships: [
                    {
      foreignKeyName: "search_run_sites_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "run_items"
      referencedColumns: ["run_id"]
    },{
      foreignKeyName: "search_run_sites_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "run_sites"
      referencedColumns: ["run_id"]
    },{
      foreignKeyName: "search_run_sites_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "saved_search_states"
      referencedColumns: ["last_run_id"]
    },{
      foreignKeyName: "search_run_sites_run_id_fkey"
      columns: ["run_id"]
isOneToOne: false
      referencedRelation: "search_runs"
      referencedColumns: ["id"]
    }
                  ]
                },"search_runs": {
                  Row: {
                    "attempts": number,"cancel_requested_at": string | null,"client_context": Json | null,"completed_at": string | null,"created_at": string,"error_code": string | null,"error_message": string | null,"fingerprint": string,"fresh": boolean,"id": string,"idempotency_key": string | null,"items_found": number,"jobs_found": number,"kind": string,"leader_run_id": string | null,"max_attempts": number,"new_items": number,"newer_than": string | null,"parameters": NonNullable<Json>,"position": number,"priority": number,"progress": NonNullable<Json>,"progress_current": number,"progress_total": number | null,"rescues": number,"run_after": string | null,"saved_search_id": string | null,"shared_run_id": string | null,"slot_at": string | null,"source": Database["public"]['Enums']["run_source"],"started_at": string | null,"status": Database["public"]['Enums']["run_status"],"updated_at": string,"user_id": string,"workspace_id": string | null
                  }
                  ComputedFields: never
                  Insert: {
                    "attempts"?: number,"cancel_requested_at"?: string | null,"client_context"?: Json | null,"completed_at"?: string | null,"created_at"?: string,"error_code"?: string | null,"error_message"?: string | null,"fingerprint"?: string,"fresh"?: boolean,"id"?: string,"idempotency_key"?: string | null,"items_found"?: number,"jobs_found"?: number,"kind": string,"leader_run_id"?: string | null,"max_attempts"?: number,"new_items"?: number,"newer_than"?: string | null,"parameters": NonNullable<Json>,"position"?: number,"priority"?: number,"progress"?: NonNullable<Json>,"progress_current"?: number,"progress_total"?: number | null,"rescues"?: number,"run_after"?: string | null,"saved_search_id"?: string | null,"shared_run_id"?: string | null,"slot_at"?: string | null,"source"?: Database["public"]['Enums']["run_source"],"started_at"?: string | null,"status"?: Database["public"]['Enums']["run_status"],"updated_at"?: string,"user_id"?: string,"workspace_id"?: string | null
                  }
                  Update: {
                    "attempts"?: number,"cancel_requested_at"?: string | null,"client_context"?: Json | null,"completed_at"?: string | null,"created_at"?: string,"error_code"?: string | null,"error_message"?: string | null,"fingerprint"?: string,"fresh"?: boolean,"id"?: string,"idempotency_key"?: string | null,"items_found"?: number,"jobs_found"?: number,"kind"?: string,"leader_run_id"?: string | null,"max_attempts"?: number,"new_items"?: number,"newer_than"?: string | null,"parameters"?: NonNullable<Json>,"position"?: number,"priority"?: number,"progress"?: NonNullable<Json>,"progress_current"?: number,"progress_total"?: number | null,"rescues"?: number,"run_after"?: string | null,"saved_search_id"?: string | null,"shared_run_id"?: string | null,"slot_at"?: string | null,"source"?: Database["public"]['Enums']["run_source"],"started_at"?: string | null,"status"?: Database["public"]['Enums']["run_status"],"updated_at"?: string,"user_id"?: string,"workspace_id"?: string | null
                  }
                  Relationships: [
                    
                  ]
                },"search_schedules": {
                  Row: {
                    "active_since": string,"created_at": string,"last_run_id": string | null,"last_slot_at": string | null,"next_slot_at": string | null,"paused": string | null,"paused_reason": string | null,"saved_search_id": string,"time_zone": string,"times": (string)[],"updated_at": string,"weekdays": (number)[]
                  }
                  ComputedFields: never
                  Insert: {
                    "active_since"?: string,"created_at"?: string,"last_run_id"?: string | null,"last_slot_at"?: string | null,"next_slot_at"?: string | null,"paused"?: string | null,"paused_reason"?: string | null,"saved_search_id": string,"time_zone": string,"times": (string)[],"updated_at"?: string,"weekdays"?: (number)[]
                  }
                  Update: {
                    "active_since"?: string,"created_at"?: string,"last_run_id"?: string | null,"last_slot_at"?: string | null,"next_slot_at"?: string | null,"paused"?: string | null,"paused_reason"?: string | null,"saved_search_id"?: string,"time_zone"?: string,"times"?: (string)[],"updated_at"?: string,"weekdays"?: (number)[]
                  }
                  Relationships: [
                    {
      foreignKeyName: "search_schedules_saved_search_id_fkey"
      columns: ["saved_search_id"]
isOneToOne: true
      referencedRelation: "saved_search_states"
      referencedColumns: ["id"]
    },{
      foreignKeyName: "search_schedules_saved_search_id_fkey"
      columns: ["saved_search_id"]
isOneToOne: true
      referencedRelation: "saved_searches"
      referencedColumns: ["id"]
    }
                  ]
                }
          }
          Views: {
            "run_items": {
                  Row: {
                    "apply_url": string | null,"city": string | null,"country": string | null,"currency": string | null,"data": NonNullable<Json>,"description": string | null,"experience_years": number | null,"first_seen_at": string | null,"found_at": string,"is_new": boolean | null,"is_remote": boolean | null,"item_id": string | null,"job_types": (string)[] | null,"kind": string,"last_seen_at": string | null,"location": string | null,"organization": string | null,"organization_id": string | null,"page_number": number,"places": Json | null,"position": number,"posted_at": string | null,"region": string | null,"run_id": string,"salary_interval": string | null,"salary_max": number | null,"salary_min": number | null,"salary_yearly_max": number | null,"salary_yearly_min": number | null,"site": string,"sites": Json | null,"skills": (string)[] | null,"title": string,"url": string,"work_mode": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"run_sites": {
                  Row: {
                    "attempts": number,"completed_at": string | null,"error_code": string | null,"error_message": string | null,"is_fallback": boolean,"jobs_found": number,"position": number,"progress": NonNullable<Json>,"retryable": boolean | null,"run_id": string,"site": string,"started_at": string | null,"status": Database["public"]['Enums']["site_status"]
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                },"saved_search_states": {
                  Row: {
                    "created_at": string,"id": string,"kind": string,"last_completed_at": string | null,"last_items_found": number | null,"last_new_items": number | null,"last_run_id": string | null,"last_status": Database["public"]['Enums']["run_status"] | null,"name": string,"new_items": number | null,"next_slot_at": string | null,"parameters": NonNullable<Json>,"paused": string | null,"paused_reason": string | null,"time_zone": string | null,"times": (string)[] | null,"weekdays": (number)[] | null,"workspace_id": string | null
                  }
                  ComputedFields: never
                  Relationships: [
                    
                  ]
                }
          }
          Functions: {
            "admin_exits":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"admin_incidents":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"admin_overview":
{ Args: { "since": string }; Returns: Json
                           },
"admin_quality":
{ Args: { "since": string }; Returns: {
              "completeness": Json,"day": string,"failed_pages": number,"invalid_items": number,"invalid_share": number,"items": number,"pages": number,"site": string,"source": string
            }[]
                           },
"admin_quotas":
{ Args: Record<PropertyKey, never>; Returns: {
              "bucket": string,"quota": number,"resets_at": string,"site": string,"used": number,"used_share": number,"users": Json
            }[]
                           },
"admin_replay_webhooks":
{ Args: { "endpoint": string,"message_id"?: string }; Returns: number
                           },
"admin_runs":
{ Args: { "before_at"?: string,"before_id"?: string,"error_code"?: string,"kind"?: string,"most"?: number,"since"?: string,"site"?: string,"source"?: string,"status"?: (string)[],"until"?: string,"user_id"?: string }; Returns: Json
                           },
"admin_sites":
{ Args: { "since": string }; Returns: {
              "attempts": number,"completed": number,"duration_p50": number,"duration_p95": number,"errors": Json,"failed": number,"invalid_items": number,"invalid_share": number,"items": number,"last_error_code": string,"limits": Json,"new_items": number,"pages": number,"partial": number,"paused_until": string,"quotas": Json,"requests": number,"response_ms": number,"searches": number,"site": string,"state": string,"success_rate": number
            }[]
                           },
"admin_webhooks":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"admin_workers":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"cancel_search":
{ Args: { "run_id": string }; Returns: {
              "attempts": number,
"cancel_requested_at": string | null,
"client_context": Json | null,
"completed_at": string | null,
"created_at": string,
"error_code": string | null,
"error_message": string | null,
"fingerprint": string,
"fresh": boolean,
"id": string,
"idempotency_key": string | null,
"items_found": number,
"jobs_found": number,
"kind": string,
"leader_run_id": string | null,
"max_attempts": number,
"new_items": number,
"newer_than": string | null,
"parameters": NonNullable<Json>,
"position": number,
"priority": number,
"progress": NonNullable<Json>,
"progress_current": number,
"progress_total": number | null,
"rescues": number,
"run_after": string | null,
"saved_search_id": string | null,
"shared_run_id": string | null,
"slot_at": string | null,
"source": Database["public"]['Enums']["run_source"],
"started_at": string | null,
"status": Database["public"]['Enums']["run_status"],
"updated_at": string,
"user_id": string,
"workspace_id": string | null
            }
                          SetofOptions: {
        from: "*"
        to: "search_runs"
        isOneToOne: true
        isSetofReturn: false
      } },
"delete_search":
{ Args: { "run_id": string }; Returns: {
              "attempts": number,
"cancel_requested_at": string | null,
"client_context": Json | null,
"completed_at": string | null,
"created_at": string,
"error_code": string | null,
"error_message": string | null,
"fingerprint": string,
"fresh": boolean,
"id": string,
"idempotency_key": string | null,
"items_found": number,
"jobs_found": number,
"kind": string,
"leader_run_id": string | null,
"max_attempts": number,
"new_items": number,
"newer_than": string | null,
"parameters": NonNullable<Json>,
"position": number,
"priority": number,
"progress": NonNullable<Json>,
"progress_current": number,
"progress_total": number | null,
"rescues": number,
"run_after": string | null,
"saved_search_id": string | null,
"shared_run_id": string | null,
"slot_at": string | null,
"source": Database["public"]['Enums']["run_source"],
"started_at": string | null,
"status": Database["public"]['Enums']["run_status"],
"updated_at": string,
"user_id": string,
"workspace_id": string | null
            }
                          SetofOptions: {
        from: "*"
        to: "search_runs"
        isOneToOne: true
        isSetofReturn: false
      } },
"enqueue_search":
{ Args: { "client_context"?: Json,"fresh"?: boolean,"idempotency_key"?: string,"kind": string,"parameters": Json }; Returns: {
              "attempts": number,
"cancel_requested_at": string | null,
"client_context": Json | null,
"completed_at": string | null,
"created_at": string,
"error_code": string | null,
"error_message": string | null,
"fingerprint": string,
"fresh": boolean,
"id": string,
"idempotency_key": string | null,
"items_found": number,
"jobs_found": number,
"kind": string,
"leader_run_id": string | null,
"max_attempts": number,
"new_items": number,
"newer_than": string | null,
"parameters": NonNullable<Json>,
"position": number,
"priority": number,
"progress": NonNullable<Json>,
"progress_current": number,
"progress_total": number | null,
"rescues": number,
"run_after": string | null,
"saved_search_id": string | null,
"shared_run_id": string | null,
"slot_at": string | null,
"source": Database["public"]['Enums']["run_source"],
"started_at": string | null,
"status": Database["public"]['Enums']["run_status"],
"updated_at": string,
"user_id": string,
"workspace_id": string | null
            }
                          SetofOptions: {
        from: "*"
        to: "search_runs"
        isOneToOne: true
        isSetofReturn: false
      } },
"insights_of_run":
{ Args: { "run_id": string }; Returns: Json
                           },
"last_seen":
{ Args: Record<PropertyKey, never>; Returns: string
                           },
"mark_seen":
{ Args: Record<PropertyKey, never>; Returns: undefined
                           },
"match_items":
{ Args: { "kind"?: string,"limit"?: number,"max_distance"?: number,"query_embedding": string }; Returns: Database["public"]['CompositeTypes']["matched_item"][]
                          SetofOptions: {
        from: "*"
        to: "matched_item"
        isOneToOne: false
        isSetofReturn: true
      } },
"new_results":
{ Args: { "max_items"?: number,"since"?: string }; Returns: Json
                           },
"page_of_run_items":
{ Args: { "filters"?: Json,"page"?: number,"per_page"?: number,"run_id": string,"sort"?: string }; Returns: Json
                           },
"rerun_search":
{ Args: { "run_id": string }; Returns: {
              "attempts": number,
"cancel_requested_at": string | null,
"client_context": Json | null,
"completed_at": string | null,
"created_at": string,
"error_code": string | null,
"error_message": string | null,
"fingerprint": string,
"fresh": boolean,
"id": string,
"idempotency_key": string | null,
"items_found": number,
"jobs_found": number,
"kind": string,
"leader_run_id": string | null,
"max_attempts": number,
"new_items": number,
"newer_than": string | null,
"parameters": NonNullable<Json>,
"position": number,
"priority": number,
"progress": NonNullable<Json>,
"progress_current": number,
"progress_total": number | null,
"rescues": number,
"run_after": string | null,
"saved_search_id": string | null,
"shared_run_id": string | null,
"slot_at": string | null,
"source": Database["public"]['Enums']["run_source"],
"started_at": string | null,
"status": Database["public"]['Enums']["run_status"],
"updated_at": string,
"user_id": string,
"workspace_id": string | null
            }
                          SetofOptions: {
        from: "*"
        to: "search_runs"
        isOneToOne: true
        isSetofReturn: false
      } },
"run_saved_search":
{ Args: { "fresh"?: boolean,"saved_search_id": string }; Returns: {
              "attempts": number,
"cancel_requested_at": string | null,
"client_context": Json | null,
"completed_at": string | null,
"created_at": string,
"error_code": string | null,
"error_message": string | null,
"fingerprint": string,
"fresh": boolean,
"id": string,
"idempotency_key": string | null,
"items_found": number,
"jobs_found": number,
"kind": string,
"leader_run_id": string | null,
"max_attempts": number,
"new_items": number,
"newer_than": string | null,
"parameters": NonNullable<Json>,
"position": number,
"priority": number,
"progress": NonNullable<Json>,
"progress_current": number,
"progress_total": number | null,
"rescues": number,
"run_after": string | null,
"saved_search_id": string | null,
"shared_run_id": string | null,
"slot_at": string | null,
"source": Database["public"]['Enums']["run_source"],
"started_at": string | null,
"status": Database["public"]['Enums']["run_status"],
"updated_at": string,
"user_id": string,
"workspace_id": string | null
            }
                          SetofOptions: {
        from: "*"
        to: "search_runs"
        isOneToOne: true
        isSetofReturn: false
      } },
"search_health":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"search_options":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"similar_items":
{ Args: { "item_id": string,"limit"?: number }; Returns: Database["public"]['CompositeTypes']["matched_item"][]
                          SetofOptions: {
        from: "*"
        to: "matched_item"
        isOneToOne: false
        isSetofReturn: true
      } },
"usual_search_seconds":
{ Args: { "site": string }; Returns: number
                           },
"worker_activity":
{ Args: { "most"?: number }; Returns: Json
                           },
"worker_add_webhook":
{ Args: { "description"?: string,"events": (string)[],"name": string,"url": string }; Returns: undefined
                           },
"worker_alerts":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"worker_apply_collections":
{ Args: { "collections": Json,"namespace": string,"owner": string }; Returns: Json
                           },
"worker_check_alerts":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"worker_claim_embeddings":
{ Args: { "batch": number,"model": string }; Returns: Json
                           },
"worker_claim_near_duplicates":
{ Args: { "batch": number }; Returns: Json
                           },
"worker_claim_notices":
{ Args: { "batch": number }; Returns: Json
                           },
"worker_claim_pages":
{ Args: { "batch": number,"sources": (string)[] }; Returns: {
              "calls_used": number,"kind": string,"page_id": number,"page_number": number,"payload": Json,"response_ms": number,"site": string,"source": string
            }[]
                           },
"worker_claim_runs":
{ Args: { "about"?: Json,"claim_id": string,"exits"?: Json,"held": Json,"kinds": (string)[],"lease_seconds": number,"limits"?: Json,"schema_version"?: number,"slots": number,"worker_id": string }; Returns: {
              "attempt": number,"kind": string,"lease_token": string,"max_attempts": number,"newer_than": string,"parameters": Json,"run_id": string,"sites": Json
            }[]
                           },
"worker_claim_webhooks":
{ Args: { "batch": number,"endpoints": (string)[] }; Returns: Json
                           },
"worker_collections":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"worker_count_requests":
{ Args: { "counts": Json,"reporter": string }; Returns: undefined
                           },
"worker_count_runs":
{ Args: Record<PropertyKey, never>; Returns: number
                           },
"worker_dead_webhooks":
{ Args: { "endpoint"?: string,"most"?: number }; Returns: {
              "attempts": number,"created_at": string,"data": Json,"endpoint": string,"error": string,"event": string,"id": string
            }[]
                           },
"worker_delete_expired":
{ Args: Record<PropertyKey, never>; Returns: number
                           },
"worker_exits":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"worker_fail_embeddings":
{ Args: { "claimed_until": string,"failures": Json }; Returns: number
                           },
"worker_finish_and_claim":
{ Args: { "claim": Json,"finished": Json }; Returns: Json
                           },
"worker_finish_near_duplicates":
{ Args: { "claimed_until": string,"item_ids": (string)[] }; Returns: number
                           },
"worker_finish_sites":
{ Args: { "finished": Json }; Returns: Json
                           },
"worker_fire_schedules":
{ Args: { "batch"?: number }; Returns: Json
                           },
"worker_health":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"worker_heartbeat":
{ Args: { "leases": Json,"worker_id": string }; Returns: {
              "lease_token": string,"run_id": string,"state": string
            }[]
                           },
"worker_leave_exit":
{ Args: { "account": string,"error_code": string,"exit": string,"exits": Json,"lease_token": string,"message": string,"retry_after_seconds": number,"run_id": string,"site": string }; Returns: Json
                           },
"worker_load_page":
{ Args: { "completeness": Json,"errors": Json,"items": Json,"page_id": number,"transform_ms": number,"version": number }; Returns: Json
                           },
"worker_merge_items":
{ Args: { "pairs": Json }; Returns: number
                           },
"worker_merge_near_duplicates":
{ Args: { "claimed_until": string,"item_ids": (string)[],"pairs": Json }; Returns: number
                           },
"worker_near_duplicate_texts":
{ Args: { "item_ids": (string)[],"length": number }; Returns: Json
                           },
"worker_near_duplicates":
{ Args: { "batch": number }; Returns: Json
                           },
"worker_observe_limits":
{ Args: { "account": string,"bucket": string,"exit"?: string,"lease_token": string,"observed": Json,"run_id": string,"site": string }; Returns: undefined
                           },
"worker_release_runs":
{ Args: { "leases": Json,"worker_id": string }; Returns: undefined
                           },
"worker_remove_webhook":
{ Args: { "name": string }; Returns: boolean
                           },
"worker_replay_webhooks":
{ Args: { "endpoint": string,"message_id"?: string }; Returns: number
                           },
"worker_reprocess":
{ Args: { "since"?: string,"source"?: string,"status"?: string }; Returns: number
                           },
"worker_save_embeddings":
{ Args: { "claimed_until": string,"embeddings": Json,"model": string }; Returns: number
                           },
"worker_save_notices":
{ Args: { "claimed_until": string,"results": Json }; Returns: Json
                           },
"worker_save_pages":
{ Args: { "pages": Json }; Returns: Json
                           },
"worker_save_webhooks":
{ Args: { "claimed_until": string,"results": Json }; Returns: Json
                           },
"worker_set_account":
{ Args: { "account": string,"site": string,"user_id": string,"workspace_id"?: string }; Returns: undefined
                           },
"worker_set_alert":
{ Args: { "is_enabled"?: boolean,"least_count"?: number,"period_seconds"?: number,"rule": string,"threshold"?: number }; Returns: Json
                           },
"worker_site_health":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"worker_split_item":
{ Args: { "item_id": string }; Returns: undefined
                           },
"worker_start_import":
{ Args: { "claim_id": string,"idempotency_key": string,"kind": string,"lease_seconds": number,"name": string,"owner": string,"records": number,"schema_version"?: number,"sites": (string)[],"worker_id": string }; Returns: Json
                           },
"worker_start_sites":
{ Args: { "searches": Json }; Returns: Json
                           },
"worker_status":
{ Args: Record<PropertyKey, never>; Returns: Json
                           },
"worker_take_permit":
{ Args: { "account": string,"bucket": string,"exits"?: Json,"lease_token": string,"limits": Json,"requests": number,"run_id": string,"site": string }; Returns: Json
                           },
"worker_webhooks":
{ Args: Record<PropertyKey, never>; Returns: {
              "dead": number,"description": string,"disabled_at": string,"disabled_reason": string,"events": (string)[],"last_delivered_at": string,"last_error": string,"name": string,"oldest_waiting_at": string,"url": string,"waiting": number
            }[]
                           },
"worker_write_alert":
{ Args: { "data": Json,"lease_token": string,"run_id": string,"site": string }; Returns: undefined
                           },
"worker_write_progress":
{ Args: { "lease_token": string,"progress": Json,"run_id": string }; Returns: number
                           }
          }
          Enums: {
            "run_source": "manual"|"cron"|"api"|"import","run_status": "pending"|"running"|"success"|"partial"|"failed"|"cancelled","site_status": "pending"|"running"|"completed"|"partial"|"failed"|"skipped"
          }
          CompositeTypes: {
            "matched_item": {
                        "item_id": string | null,"similarity": number | null,"kind": string | null,"title": string | null,"organization": string | null,"location": string | null,"city": string | null,"region": string | null,"country": string | null,"is_remote": boolean | null,"work_mode": string | null,"job_types": (string)[] | null,"posted_at": string | null,"salary_min": number | null,"salary_max": number | null,"salary_interval": string | null,"currency": string | null,"salary_yearly_min": number | null,"salary_yearly_max": number | null,"url": string | null,"apply_url": string | null,"description": string | null,"skills": (string)[] | null,"experience_years": number | null,"data": Json | null,"first_seen_at": string | null,"last_seen_at": string | null
                      }
          }
        }
}

type DatabaseWithoutInternals = Omit<Database, '__InternalSupabase'>

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">]

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])
    : never = never
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])[TableName] extends {
      Row: infer R
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
  ? (DefaultSchema["Tables"] & DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
      Row: infer R
    }
    ? R
    : never
  : never

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Insert: infer I
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
  ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Insert: infer I
    }
    ? I
    : never
  : never

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Update: infer U
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
  ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Update: infer U
    }
    ? U
    : never
  : never

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never = never
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
  ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
  : never

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never = never
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
  ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
  : never

export const Constants = {
  "public": {
          Enums: {
            "run_source": ["manual", "cron", "api", "import"],"run_status": ["pending", "running", "success", "partial", "failed", "cancelled"],"site_status": ["pending", "running", "completed", "partial", "failed", "skipped"]
          }
        }
} as const
