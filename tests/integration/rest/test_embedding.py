"""What is embedded by foreign keys."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.books import error


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/books?select=id,notes(*)&id=eq.2", [{"id": 2, "notes": [
            {"id": 3, "book_id": 2, "author_id": None, "body": "witty"}]}]),
        ("/books?select=id,remarks:notes(body)&id=eq.3", [{"id": 3, "remarks": []}]),
        ("/books?select=id,notes(id)&notes.order=id.desc&notes.limit=1&id=eq.1", [{"id": 1, "notes": [{"id": 2}]}]),
        ("/notes?select=id,books(title)&id=eq.1", [{"id": 1, "books": {"title": "Dune"}}]),
        ("/notes?select=id,book:books(title)&id=eq.1", [{"id": 1, "book": {"title": "Dune"}}]),
        ("/notes?select=id,authors(id)&id=eq.3", [{"id": 3, "authors": None}]),
        ("/books?select=id,covers(colour)&order=id", [
            {"id": 1, "covers": {"colour": "yellow"}}, {"id": 2, "covers": {"colour": "red"}},
            {"id": 3, "covers": None}]),
        ("/books?select=id,prizes(name)&order=id", [
            {"id": 1, "prizes": {"name": "Hugo"}}, {"id": 2, "prizes": None}, {"id": 3, "prizes": {"name": "none"}}]),
        ("/books?select=id,covers(colour)&covers.colour=eq.red&order=id&limit=1", [{"id": 1, "covers": None}]),
        ("/covers?select=colour,books(id)&book_id=eq.1", [{"colour": "yellow", "books": {"id": 1}}]),
        ("/notes?select=id,book_id(title)&id=eq.1", [{"id": 1, "book_id": {"title": "Dune"}}]),
        ("/notes?select=id,notes_book_id_fkey(title)&id=eq.1", [{"id": 1, "notes_book_id_fkey": {"title": "Dune"}}]),
        ("/books?select=id,authors!authors_first_book_fkey(id)&id=eq.1", [{"id": 1, "authors": [{"id": 1}]}]),
        ("/books?select=id,authors!last_book!left(id)&id=eq.3", [{"id": 3, "authors": [{"id": 1}]}]),
        ("/authors?select=id,mentor(id)&order=id", [{"id": 1, "mentor": None}, {"id": 2, "mentor": {"id": 1}}]),
        ("/authors?select=id,taught:authors(id)&order=id", [{"id": 1, "taught": [{"id": 2}]}, {"id": 2, "taught": []}]),
        ("/authors?select=id,authors!mentor(id)&order=id&limit=1", [{"id": 1, "authors": [{"id": 2}]}]),
        ("/rpc/all_books?select=id,notes(id)&id=eq.2", [{"id": 2, "notes": [{"id": 3}]}]),
        ("/books?select=id,authors!writings(id)&order=id", [
            {"id": 1, "authors": [{"id": 1}]}, {"id": 2, "authors": [{"id": 2}]}, {"id": 3, "authors": []}]),
        ("/rpc/first_book?select=id,authors!writings(id)", {"id": 1, "authors": [{"id": 1}]}),
    ],
)  # fmt: skip
async def test_embedding(http: httpx.AsyncClient, url: str, expected: list[Any]) -> None:
    response = await http.get(url)
    assert response.json() == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/authors?select=id,notes(id,books(title))&id=eq.1", [
            {"id": 1, "notes": [{"id": 1, "books": {"title": "Dune"}}]}]),
        ("/authors?select=id,books!writings(title,notes(id))&id=eq.1&books.notes.order=id.desc&books.notes.limit=1", [
            {"id": 1, "books": [{"title": "Dune", "notes": [{"id": 2}]}]}]),
        ("/books?select=id,notes(id,authors(id))&notes.authors.id=eq.2&notes.order=id&id=eq.1", [
            {"id": 1, "notes": [{"id": 1, "authors": None}, {"id": 2, "authors": {"id": 2}}]}]),
        ("/books?select=id,notes(id,authors!inner(id))&notes.authors.id=eq.2&id=lt.3&order=id", [
            {"id": 1, "notes": [{"id": 2, "authors": {"id": 2}}]}, {"id": 2, "notes": []}]),
        ("/books?select=id,notes(id,authors(id))&notes.order=authors(id).desc&notes.offset=1&id=eq.1", [
            {"id": 1, "notes": [{"id": 1, "authors": {"id": 1}}]}]),
        ("/books?select=id,notes(id)&notes.or=(id.eq.2,body.eq.witty)&id=lt.3&order=id", [
            {"id": 1, "notes": [{"id": 2}]}, {"id": 2, "notes": [{"id": 3}]}]),
        ("/authors?select=id,authors(id,authors(id))&id=eq.1", [
            {"id": 1, "authors": [{"id": 2, "authors": []}]}]),
    ],
)  # fmt: skip
async def test_embedding_within_embedded_rows(http: httpx.AsyncClient, url: str, expected: list[Any]) -> None:
    response = await http.get(url)
    assert response.json() == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/titles?select=title,notes(id)&id=eq.2", [{"title": "Emma", "notes": [{"id": 3}]}]),
        ("/notes?select=id,titles(title)&id=eq.1", [{"id": 1, "titles": {"title": "Dune"}}]),
        ("/notes?select=id,titles!notes_book_id_fkey(title)&id=eq.1", [{"id": 1, "titles": {"title": "Dune"}}]),
        ("/remarks?select=body,books(title)&id=eq.3", [{"body": "witty", "books": {"title": "Emma"}}]),
        ("/remarks?select=body,written_of:books!book(title)&id=eq.3", [
            {"body": "witty", "written_of": {"title": "Emma"}}]),
        ("/books?select=id,remarks!inner(body)&remarks.body=eq.long", [{"id": 1, "remarks": [{"body": "long"}]}]),
        ("/remarks?select=id,titles(title)&id=eq.1", [{"id": 1, "titles": {"title": "Dune"}}]),
        ("/short_titles?select=title,remarks(id)&order=title&remarks.order=id.desc", [
            {"title": "DUNE", "remarks": [{"id": 2}, {"id": 1}]}, {"title": "EMMA", "remarks": [{"id": 3}]}]),
        ("/short_titles?select=title,covers(colour)&book_id=eq.2", [{"title": "EMMA", "covers": {"colour": "red"}}]),
        ("/titles?select=id,authors!credits(id)&id=eq.1", [{"id": 1, "authors": [{"id": 1}]}]),
        ("/credits?select=titles(title)&author_id=eq.2", [{"titles": {"title": "Emma"}}]),
    ],
)  # fmt: skip
async def test_embedding_through_views(http: httpx.AsyncClient, url: str, expected: list[Any]) -> None:
    response = await http.get(url)
    assert response.json() == expected


async def test_views_are_not_embedded_by_the_names_of_keys_and_columns(http: httpx.AsyncClient) -> None:
    """A key and a column name the table: otherwise a new view would make old requests ambiguous."""
    assert (await http.get("/notes?select=book_id(title)&id=eq.1")).json() == [{"book_id": {"title": "Dune"}}]
    assert error(await http.get("/titles?select=nothing(id)"))[1] == "PGRST200"
    refused = await http.get("/title?select=notes(id)")
    assert error(refused)[1] == "PGRST205"
    refused = await http.get("/titles?select=note(id)")
    assert refused.json()["hint"] == "Perhaps you meant 'notes' instead of 'note'."


async def test_changed_views(http: httpx.AsyncClient) -> None:
    kept = {"prefer": "return=representation,resolution=merge-duplicates"}
    merged = await http.post("/titles?select=title,notes(id)", json={"id": 2, "title": "Emma!"}, headers=kept)
    assert (merged.status_code, merged.json()) == (200, [{"title": "Emma!", "notes": [{"id": 3}]}])
    assert merged.headers["preference-applied"] == "resolution=merge-duplicates, return=representation"


@pytest.mark.parametrize(
    ("query", "ids", "total"),
    [
        ("select=id,notes!inner(id)", [1, 2], 2),
        ("select=id,notes!inner(id)&notes.body=eq.long", [1], 1),
        ("select=id,notes!book_id!inner(id)", [1, 2], 2),
        ("select=id,notes!left(id)", [1, 2, 3], 3),
        ("select=id,notes!inner(id,authors!inner(id))", [1], 1),
        ("select=id,authors!writings!inner(id)&authors.id=eq.2", [2], 1),
        ("select=id,covers!inner(colour)&covers.colour=eq.red", [2], 1),
        ("select=id,notes(id)&notes=is.null", [3], 1),
        ("select=id,notes()&notes=not.is.null", [1, 2], 2),
        ("select=id,covers(colour)&covers=is.null", [3], 1),
        ("select=id,notes(id),covers(colour)&or=(notes.is.null,covers.not.is.null)", [1, 2, 3], 3),
        ("select=id,notes(id),covers(colour)&not.and=(notes.not.is.null,covers.not.is.null)", [3], 1),
    ],
)
async def test_rows_by_what_is_embedded(http: httpx.AsyncClient, query: str, ids: list[int], total: int) -> None:
    response = await http.get(f"/books?{query}&order=id&limit=5", headers={"prefer": "count=exact"})
    assert [book["id"] for book in response.json()] == ids
    assert response.headers["content-range"].rpartition("/")[2] == str(total)


async def test_what_is_embedded_without_columns_is_not_returned(http: httpx.AsyncClient) -> None:
    response = await http.get("/books?select=id,notes()&notes.body=eq.long&notes=not.is.null")
    assert response.json() == [{"id": 1}]


async def test_order_by_what_is_embedded(http: httpx.AsyncClient) -> None:
    response = await http.get("/notes?select=id,book:books(title)&order=book(title).desc,id.desc")
    assert [note["id"] for note in response.json()] == [3, 2, 1]
    refused = await http.get("/books?select=id,notes(id)&order=notes(id)")
    assert error(refused) == (400, "PGRST118", "A related order on 'notes' is not possible")
    assert refused.json()["details"] == "'books' and 'notes' do not form a many-to-one or one-to-one relationship"
    assert error(await http.get("/books?select=id&order=notes(id)"))[1] == "PGRST108"


async def test_changed_rows_with_what_is_embedded(http: httpx.AsyncClient) -> None:
    kept = {"prefer": "return=representation"}
    url = "/notes?select=id,books(title,authors!writings(id))"
    added = await http.post(url, json={"id": 9, "book_id": 2}, headers=kept)
    assert added.json() == [{"id": 9, "books": {"title": "Emma", "authors": [{"id": 2}]}}]
    url = "/books?id=in.(1,3)&select=title,notes!inner(id)&notes.order=id"
    changed = await http.patch(url, json={"kind": "classic"}, headers=kept)
    assert changed.json() == [{"title": "Dune", "notes": [{"id": 1}, {"id": 2}]}]
    assert len((await http.get("/books?kind=eq.classic&select=id")).json()) == 2


async def test_embedding_what_is_not_related(http: httpx.AsyncClient) -> None:
    response = await http.get("/books?select=*,note(*)")
    message = "Could not find a relationship between 'books' and 'note' in the schema cache"
    assert error(response) == (400, "PGRST200", message)
    assert response.json()["details"] == (
        "Searched for a foreign key relationship between 'books' and 'note' in the schema 'public', "
        "but no matches were found."
    )
    assert response.json()["hint"] == "Perhaps you meant 'notes' instead of 'note'."
    response = await http.get("/books?select=*,notes!nothing(*)")
    assert error(response)[:2] == (400, "PGRST200")
    assert response.json()["details"] == (
        "Searched for a foreign key relationship between 'books' and 'notes' using the hint 'nothing' in the schema "
        "'public', but no matches were found."
    )
    assert response.json()["hint"] is None


async def test_embedding_what_is_not_clear(http: httpx.AsyncClient) -> None:
    response = await http.get("/books?select=*,authors(*)")
    message = "Could not embed because more than one relationship was found for 'books' and 'authors'"
    assert error(response) == (300, "PGRST201", message)
    assert response.json()["details"] == [
        {
            "cardinality": "one-to-many",
            "embedding": "books with authors",
            "relationship": "authors_first_book_fkey using books(id) and authors(first_book)",
        },
        {
            "cardinality": "one-to-many",
            "embedding": "books with authors",
            "relationship": "authors_last_book_fkey using books(id) and authors(last_book)",
        },
        {
            "cardinality": "many-to-many",
            "embedding": "books with authors",
            "relationship": "credits using writings_book_id_fkey(book_id) and writings_author_id_fkey(author_id)",
        },
        {
            "cardinality": "many-to-many",
            "embedding": "books with authors",
            "relationship": "writings using writings_book_id_fkey(book_id) and writings_author_id_fkey(author_id)",
        },
    ]
    assert response.json()["hint"] == (
        "Try changing 'authors' to one of the following: 'authors!authors_first_book_fkey', "
        "'authors!authors_last_book_fkey', 'authors!credits', 'authors!writings'. "
        "Find the desired relationship in the 'details' key."
    )


async def test_what_is_asked_of_something_that_is_not_embedded(http: httpx.AsyncClient) -> None:
    response = await http.get("/books?notes.id=eq.1")
    message = "'notes' is not an embedded resource in this request"
    assert error(response) == (400, "PGRST108", message)
    assert response.json()["hint"] == "Verify that 'notes' is included in the 'select' query parameter."
    response = await http.get("/books?select=id,notes(id)&notes.books.id=eq.1")
    assert error(response)[2] == "'books' is not an embedded resource in this request"
