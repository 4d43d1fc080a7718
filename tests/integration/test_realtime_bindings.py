"""What may be subscribed to, what the filters let through, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.realtime import ALICE, SUBSCRIBED, Table, binding, wire
from tests.support.stack import user_token
from worker.local.supabase.stack import Endpoints
from worker.local.supabase.tokens import Tokens

ROWS: dict[int, dict[str, Any]] = {
    1: {"status": "running", "amount": "9", "is_public": False},
    2: {"status": 'a,b "c" (d)', "amount": "10.5", "is_public": True},
    3: {"status": None, "amount": None, "is_public": True},
}


async def test_filters_compare_as_the_columns_type_does(stack: Endpoints, table: Table) -> None:
    expected = {
        "id=eq.2": {2},
        "id=neq.2": {1, 3},
        "id=not.eq.2": {1, 3},
        "amount=lt.10": {1},
        "amount=lte.9.0": {1},
        "amount=gt.9": {2},
        "amount=gte.9": {1, 2},
        "amount=eq.10.50": {2},
        "id=in.(1,3)": {1, 3},
        "id=not.in.(1,3)": {2},
        'status=in.("a,b \\"c\\" (d)",x)': {2},
        'status=eq."a,b \\"c\\" (d)"': {2},
        "status=like.run%": {1},
        "status=ilike.RUN%": {1},
        "status=match.^r.*g$": {1},
        "status=imatch.^RUN": {1},
        "status=is.null": {3},
        "status=not.is.null": {1, 2},
        "is_public=is.true": {2, 3},
        "status=isdistinct.running": {2, 3},
        "status=not.isdistinct.running": {1},
        "id=gt.1,amount=is.null": {3},
        "status=neq.f(x,(y),z),id=lt.3": {1, 2},
        f"owner=eq.{ALICE.upper()}": {1, 2, 3},
        "": {1, 2, 3},
    }
    async with wire(stack) as client:
        ids = await client.subscribe(
            *(binding(table, filter=condition) for condition in expected), access_token=user_token(stack, ALICE)
        )

        for number, row in ROWS.items():
            await table.insert(number, ALICE, **row)

        passed: dict[str, set[int]] = {condition: set() for condition in expected}
        for _ in ROWS:
            message = await client.change()
            for condition, binding_id in zip(expected, ids, strict=True):
                if binding_id in message["ids"]:
                    passed[condition].add(message["data"]["record"]["id"])
        assert passed == expected


async def test_a_filter_on_a_delete_sees_the_key_alone(stack: Endpoints, table: Table) -> None:
    await table.insert(1, ALICE, status="running")
    async with wire(stack) as client:
        conditions = "status=eq.running", "status=is.null", "id=eq.1"
        *_, by_key = await client.subscribe(*(binding(table, filter=condition) for condition in conditions))

        await table.execute("delete from {table}")

        assert (await client.change())["ids"] == [by_key]


async def test_wildcards_hear_of_every_table(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        ids = await client.subscribe(
            {"event": "*", "schema": "*"},
            {"event": "*", "schema": "public"},
            {"event": "*", "schema": "public", "table": "*"},
            {"event": "DELETE", "table": table.name},
            access_token=user_token(stack, ALICE),
        )

        await table.insert(1, ALICE)

        assert (await client.change())["ids"] == ids[:3]


async def test_names_of_tables_are_patterns(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        pattern = table.name[:-1] + "_"
        ids = await client.subscribe(
            {"event": "*", "schema": "pub%", "table": pattern}, binding(table), access_token=user_token(stack, ALICE)
        )

        await table.insert(1, ALICE)

        assert (await client.change())["ids"] == ids


async def test_a_selection_cuts_columns_but_the_key(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        [number] = await client.subscribe(
            binding(table, select=["status", "amount"], filter="id=eq.1"), access_token=user_token(stack, ALICE)
        )

        await table.insert(1, ALICE, status="pending", body="long")
        inserted = await client.change()
        await table.execute("update {table} set status = 'running'")
        updated = await client.change()
        await table.execute("delete from {table}")
        deleted = await client.change()

        assert inserted["ids"] == [number]
        assert [column["name"] for column in inserted["data"]["columns"]] == ["id", "status", "amount"]
        assert inserted["data"]["record"] == {"id": 1, "status": "pending", "amount": None}
        assert (updated["data"]["record"]["status"], updated["data"]["old_record"]) == ("running", {"id": 1})
        assert deleted["data"]["old_record"] == {"id": 1}


async def test_what_is_selected_otherwise_is_a_message_of_its_own(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        selections = [["status", "body"], ["amount"], ["body", "status"], [], [5]]
        first, second, third, *whole = await client.subscribe(
            *(binding(table, select=select) for select in selections), access_token=user_token(stack, ALICE)
        )

        await table.insert(1, ALICE)

        messages = [await client.change() for _ in range(3)]
        assert [message["ids"] for message in messages] == [whole, [second], [first, third]]
        assert [len(message["data"]["record"]) for message in messages] == [6, 2, 3]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"filter": "status"}, 'Error parsing `filter` params: ["status"]'),
        ({"filter": "status=eq"}, 'Error parsing `filter` params: ["eq"]'),
        ({"filter": "status=like_a.x"}, 'Error parsing `filter` params: ["like_a", "x"]'),
        ({"filter": "id=eq.1,"}, "filter must not contain empty segments (check for extra commas)"),
        ({"filter": "id=in.1"}, "Error parsing `filter` params: `in` filter value must be wrapped by parentheses"),
        ({"select": "id"}, "Error parsing `select` params: expected a list of column name strings"),
        ({"select": ["id"], "table": "*"}, "Column selection is not supported for wildcard subscriptions."),
        (
            {"filter": "id=eq.abc"},
            'filters: [{"id", "eq", "abc", false}], select: nil]. Exception: ERROR 22P02 (invalid_text_representation)',
        ),
        ({"table": "no_such_table"}, "Please check Realtime is enabled for the given connect parameters: [event: *,"),
        ({"schema": None}, "No subscription params provided. Please provide at least a `schema` or `table`"),
    ],
)
async def test_a_bad_binding_is_told_in_a_system_message(
    stack: Endpoints, table: Table, more: dict[str, Any], message: str
) -> None:
    async with wire(stack) as client:
        await client.join({**binding(table), **more}, access_token=user_token(stack, ALICE))

        answer = await client.receive()

        assert (answer.event, answer.payload["status"]) == ("system", "error")
        assert answer.payload["extension"] == "postgres_changes"
        assert message in answer.payload["message"]


async def test_a_filter_that_fits_no_more_harms_no_other_subscriber(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as careful, wire(stack) as careless:
        await careful.subscribe(binding(table), access_token=user_token(stack, ALICE))
        await careless.subscribe(binding(table, filter="amount=gt.1.5"), access_token=user_token(stack, ALICE))

        await table.execute("alter table {table} alter column amount type int")
        await table.insert(1, ALICE)

        assert (await careful.receive()).payload == SUBSCRIBED  # read again: a change was lost
        assert (await careless.receive()).payload["status"] == "error"
        await table.insert(2, ALICE)
        assert (await careful.change())["data"]["record"]["id"] == 2


async def test_a_policy_that_fails_hides_the_rows_from_its_role_alone(stack: Endpoints, table: Table) -> None:
    await table.execute(
        "create policy broken on {table} as restrictive for select to authenticated using (1 / (id - id) > 0)"
    )
    async with wire(stack) as authenticated, wire(stack) as visitor:
        await authenticated.subscribe(binding(table), access_token=user_token(stack, ALICE))
        await visitor.subscribe(binding(table))

        await table.insert(1, ALICE, is_public=True)
        assert (await visitor.change())["data"]["record"]["id"] == 1
        await table.execute("drop policy broken on {table}")
        await table.insert(2, ALICE, is_public=True)

        assert (await visitor.change())["data"]["record"]["id"] == 2
        assert (await authenticated.change())["data"]["record"]["id"] == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"filter": "nope=eq.1"}, "invalid column for filter nope"),
        ({"filter": "secret=eq.1"}, "invalid column for filter secret"),
        ({"select": ["id", "nope"]}, "invalid column for select nope"),
        ({"select": ["secret"]}, "invalid column for select secret"),
        ({"filter": f"id=in.({','.join('1' * 101)})"}, "too many values for `in` filter. Maximum 100"),
        ({"filter": "status=is.maybe"}, "invalid value for is filter: must be null, true, false, or unknown"),
        ({"filter": "amount=is.true"}, "is true filter requires a boolean column, got numeric"),
        ({"filter": "amount=like.1%"}, "operator like requires a text-compatible column type, got numeric"),
        ({"filter": "name=ilike.a%"}, "operator ilike requires a text-compatible column type, got character varying"),
        ({"filter": "name=match.a"}, "operator match requires a text-compatible column type, got character varying"),
        (
            {"filter": "status=match.("},
            "invalid regular expression for match filter: invalid regular expression: parentheses () not balanced",
        ),
    ],
)
async def test_what_the_platforms_trigger_raises(
    stack: Endpoints, table: Table, more: dict[str, Any], message: str
) -> None:
    await table.execute("alter table {table} add name varchar(20)")
    await table.execute("grant select (name) on {table} to authenticated")
    async with wire(stack) as client:
        await client.join({**binding(table), **more}, access_token=user_token(stack, ALICE))

        told = (await client.receive()).payload["message"]

        assert told.endswith(f". Exception: ERROR P0001 (raise_exception) {message}")


async def test_in_takes_100_values(stack: Endpoints, table: Table) -> None:
    async with wire(stack) as client:
        values = ",".join(map(str, range(100)))
        ids = await client.subscribe(binding(table, filter=f"id=in.({values})"), access_token=user_token(stack, ALICE))

        await table.insert(100, ALICE)
        await table.insert(99, ALICE)

        message = await client.change()
        assert (message["ids"], message["data"]["record"]["id"]) == (ids, 99)


@pytest.mark.parametrize("without", ["schema", "table"])
async def test_a_filter_needs_a_schema_and_a_table(stack: Endpoints, table: Table, without: str) -> None:
    item = binding(table, filter="id=eq.1")
    del item[without]
    async with wire(stack) as client:
        await client.join(item, access_token=user_token(stack, ALICE))

        told = (await client.receive()).payload

        rest = '"schema" => "public"}' if without == "table" else f'"table" => "{table.name}"}}'
        assert told["status"] == "error"
        assert told["message"] == (
            "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "
            f'%{{"event" => "*", "filter" => "id=eq.1", {rest}'
        )


@pytest.mark.parametrize("condition", ["tags=eq.{a}", "document=eq.1", "place=eq.(1,2)"])
async def test_a_filter_that_would_cost_the_platform_its_changes_is_refused(
    stack: Endpoints, table: Table, condition: str
) -> None:
    await table.execute("alter table {table} add tags text[], add document json, add place point")
    await table.execute("grant select on {table} to authenticated")
    async with wire(stack) as client:
        await client.join(binding(table, filter=condition), access_token=user_token(stack, ALICE))

        told = (await client.receive()).payload

        assert told["status"] == "error"
        assert told["message"].endswith("(the platform accepts this filter, and then loses changes)")


async def test_a_value_that_a_domain_refuses_harms_nobody(stack: Endpoints, table: Table) -> None:
    domain = f"positive_{table.name}"
    await table.execute(f"create domain {domain} as int check (value > 0)")
    try:
        await table.execute(f"alter table {{table}} add rank {domain}")
        await table.execute("grant select (rank) on {table} to authenticated")
        async with wire(stack) as client, wire(stack) as other:
            await other.subscribe(binding(table), access_token=user_token(stack, ALICE))
            await client.join(binding(table, filter="rank=eq.-1"), access_token=user_token(stack, ALICE))

            assert "ERROR 23514 (check_violation)" in (await client.receive()).payload["message"]
            await table.insert(1, ALICE)
            assert (await other.change())["data"]["record"]["id"] == 1
    finally:
        await table.execute(f"drop domain {domain} cascade")


async def test_a_role_that_does_not_exist_is_refused(stack: Endpoints, table: Table) -> None:
    claims = {"role": "nobody-has-it", "sub": ALICE}
    async with wire(stack) as client:
        await client.join(binding(table), access_token=Tokens(stack.jwt_secret).issue(claims))

        told = (await client.receive()).payload

        assert told["message"].endswith('ERROR 42704 (undefined_object) role "nobody-has-it" does not exist')
