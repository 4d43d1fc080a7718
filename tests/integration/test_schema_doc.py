"""What is generated from the schema is up to date."""

from __future__ import annotations

import pytest

from tests.support.node import needs_cli
from tools.schema.document import DOCUMENT, describe_schema
from tools.schema.types import CLI, describe_types
from worker.local.supabase.stack import Endpoints


@pytest.mark.pgvector
def test_the_schema_document_is_what_the_database_says(stack: Endpoints) -> None:
    assert describe_schema(stack.db_url) == DOCUMENT.read_text(), "the schema has changed: run ./scripts/schema"


@needs_cli
@pytest.mark.pgvector
def test_the_types_are_what_the_cli_says(stack: Endpoints) -> None:
    assert CLI is not None
    types = DOCUMENT.with_name("types.ts").read_text()
    assert describe_types(CLI, stack.db_url) == types, "the schema has changed: run ./scripts/schema"
