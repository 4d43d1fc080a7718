from __future__ import annotations

import pytest

from tools.schema.document import DOCUMENT, describe_schema
from worker.local.supabase.stack import Endpoints


@pytest.mark.pgvector
def test_the_schema_document_is_what_the_database_says(stack: Endpoints) -> None:
    assert describe_schema(stack.db_url) == DOCUMENT.read_text(), "the schema has changed: run ./scripts/schema"
