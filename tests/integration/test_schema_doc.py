"""What is generated from the schema is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.schema.update import generated_files
from worker.local.supabase.stack import Endpoints

PROJECT = Path(__file__).parents[2]


@pytest.mark.pgvector
def test_generated_files_are_what_the_database_says(stack: Endpoints) -> None:
    for file, text in generated_files(stack.db_url).items():
        assert (PROJECT / file).read_text() == text, f"{file} is out of date: run ./scripts/schema"
