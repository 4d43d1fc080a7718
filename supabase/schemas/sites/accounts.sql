-- Through which account is a site searched for a run? The user's account for the run's workspace, otherwise the user's
-- own account.
-- Calls: nothing.

create function worker.account_of(run_id uuid, site text) returns text
language plpgsql stable set search_path = '' as $$
begin
    return (
    select known.account
    from public.search_runs as run
    join worker.accounts as known on known.user_id = run.user_id and known.site = account_of.site
    where run.id = account_of.run_id and (known.workspace_id = run.workspace_id or known.workspace_id is null)
    order by known.workspace_id nulls last
    limit 1
    );
end;
$$;
comment on function worker.account_of is
    'Returns the account through which a run searches a site: the user''s for the run''s workspace, else the '
    'user''s own; or null.';

create function public.worker_set_account(user_id uuid, site text, account text, workspace_id uuid default null)
returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if not exists (
        select from worker.parameter_rules as rule
        where rule.name = 'sites' and (rule.allowed is null or worker_set_account.site = any (rule.allowed))
    ) then
        raise sqlstate '22023' using message = format('site must be one of %s, not %L', (
            select string_agg(distinct known.site, ', ' order by known.site)
            from worker.parameter_rules as rule, unnest(rule.allowed) as known (site) where rule.name = 'sites'), site);
    end if;
    if length(trim(worker_set_account.account)) not between 1 and 200 then
        raise sqlstate '22023' using message = 'account must be 1 to 200 characters long, or null to remove it';
    end if;

    if worker_set_account.account is null then
        delete from worker.accounts as former
        where former.user_id = worker_set_account.user_id and former.site = worker_set_account.site
          and former.workspace_id is not distinct from worker_set_account.workspace_id;
        return;
    end if;
    insert into worker.accounts (user_id, site, workspace_id, account)
    values (worker_set_account.user_id, worker_set_account.site, worker_set_account.workspace_id,
            trim(worker_set_account.account))
    on conflict on constraint accounts_account do update set account = excluded.account;
exception when foreign_key_violation or not_null_violation then
    raise sqlstate '22023' using message = 'user_id must be the id of a user';
end;
$$;
comment on function public.worker_set_account is
    'Sets the account through which a site is searched for a user''s runs: those of a workspace, or all others '
    '(null). An account of null removes it. It is used for no other user''s runs, and no user can read it.';
