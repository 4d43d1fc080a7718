-- Which pgvector is required? 0.8 or newer, in the schema extensions.
-- Calls: nothing.

create extension if not exists vector with schema extensions;
do $$
declare
    version text;
    schema text;
begin
    select extension.extversion, namespace.nspname into strict version, schema
    from pg_extension as extension join pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector';
    -- halfvec needs 0.7; iterative index scans need 0.8.
    if string_to_array(version, '.')::integer[] < '{0,8}' then
        raise exception using
            message = format('pgvector must be 0.8 or newer, and %s is installed', version),
            hint = 'Update it: alter extension vector update. Where that is not enough, upgrade Postgres first.';
    end if;
    if schema <> 'extensions' then
        raise exception using
            message = format('pgvector must be in the schema extensions, and is in %s', schema),
            hint = 'Move it: alter extension vector set schema extensions.';
    end if;
end;
$$;
