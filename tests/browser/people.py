"""Users of the frontend, as their sessions and what they have asked for."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from tests.browser.waiting import until
from tests.support.stack import PASSWORD, new_email
from worker.local.supabase.stack import Endpoints

COOKIE = "sb-127-auth-token"
"""Named after the first part of the host in the address of Supabase."""


@dataclass
class Person:
    """A user who has signed up.

    Attributes:
        session: What Auth has answered: tokens, times, user.
    """

    stack: Endpoints
    session: dict[str, Any]
    email: str
    password: str = field(default=PASSWORD, repr=False)

    def call(self, function: str, **arguments: Any) -> Any:
        """Call a function of the database as this user."""
        address = f"{self.stack.url}/rest/v1/rpc/{function}"
        return httpx.post(address, json=arguments, headers=self._headers, timeout=30).raise_for_status().json()

    def enqueue(self, term: str, sites: Sequence[str] = ("linkedin", "indeed"), results_wanted: int = 20) -> str:
        """Enqueue a search; return the id of its run."""
        parameters = {"search_term": term, "sites": sites, "results_wanted": results_wanted}
        run_id: str = self.call("enqueue_search", kind="jobs", parameters=parameters)["id"]
        return run_id

    def save(self, name: str, term: str, **parameters: Any) -> str:
        """Save a search; return its id."""
        saved = {"name": name, "kind": "jobs", "parameters": {"search_term": term} | parameters}
        saved_id: str = self._insert("saved_searches", saved)["id"]
        return saved_id

    def schedule(self, saved_id: str, times: Sequence[str]) -> None:
        """Repeat a saved search every day."""
        self._insert("search_schedules", {"saved_search_id": saved_id, "times": times, "time_zone": "Europe/Berlin"})

    def finished(self, run_id: str) -> str:
        """Wait until a run has ended; return its status."""
        address = f"{self.stack.url}/rest/v1/search_runs?select=status,completed_at&id=eq.{run_id}"

        def ended() -> str | None:
            (run,) = httpx.get(address, headers=self._headers, timeout=30).raise_for_status().json()
            return run["status"] if run["completed_at"] else None

        return until(ended)

    def _insert(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        headers = self._headers | {"Prefer": "return=representation"}
        answer = httpx.post(f"{self.stack.url}/rest/v1/{table}", json=row, headers=headers, timeout=30)
        (inserted,) = answer.raise_for_status().json()
        return dict(inserted)

    @property
    def _headers(self) -> dict[str, str]:
        return {"apikey": self.stack.anon_key, "Authorization": f"Bearer {self.session['access_token']}"}

    def cookie(self, **changes: Any) -> str:
        """The session as @supabase/ssr keeps it in a cookie, with changes."""
        text = json.dumps(self.session | changes)
        return "base64-" + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


_numbers = count(1)


def new_term() -> str:
    """A search term that no other run has. The played sites answer all of them alike."""
    return f"engineer {'.' * next(_numbers)}"


def sign_up(stack: Endpoints) -> Person:
    """Make a new user."""
    return _person(stack, "signup", new_email())


def sign_up_admin(stack: Endpoints) -> Person:
    """Make a new user who is an admin."""
    email = new_email()
    body = {"email": email, "password": PASSWORD, "email_confirm": True, "app_metadata": {"role": "admin"}}
    headers = {"apikey": stack.service_role_key, "Authorization": f"Bearer {stack.service_role_key}"}
    httpx.post(f"{stack.url}/auth/v1/admin/users", json=body, headers=headers, timeout=30).raise_for_status()
    return _person(stack, "token?grant_type=password", email)


def _person(stack: Endpoints, endpoint: str, email: str) -> Person:
    body = {"email": email, "password": PASSWORD}
    answer = httpx.post(f"{stack.url}/auth/v1/{endpoint}", json=body, headers={"apikey": stack.anon_key}, timeout=30)
    return Person(stack, answer.raise_for_status().json(), email)
