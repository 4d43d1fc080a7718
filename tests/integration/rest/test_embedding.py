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
    ],
)  # fmt: skip
async def test_embedding(http: httpx.AsyncClient, url: str, expected: list[Any]) -> None:
    response = await http.get(url)
    assert response.json() == expected


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
            "relationship": "writings using writings_book_id_fkey(book_id) and writings_author_id_fkey(author_id)",
        },
    ]
    assert response.json()["hint"] == (
        "Try changing 'authors' to one of the following: 'authors!authors_first_book_fkey', "
        "'authors!authors_last_book_fkey', 'authors!writings'. Find the desired relationship in the 'details' key."
    )


async def test_what_is_asked_of_something_that_is_not_embedded(http: httpx.AsyncClient) -> None:
    response = await http.get("/books?notes.id=eq.1")
    message = "'notes' is not an embedded resource in this request"
    assert error(response) == (400, "PGRST108", message)
    assert response.json()["hint"] == "Verify that 'notes' is included in the 'select' query parameter."
    response = await http.get("/books?select=id,notes(id)&notes.books.id=eq.1")
    assert error(response)[2] == "'books' is not an embedded resource in this request"
