"""Generates the 600 channels of the played YouTube."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.local.boards.synthetic.chance import happens

TOPICS = (
    "gardening", "woodworking", "cooking", "fitness", "chess", "astronomy", "photography", "travel", "coding", "piano",
)  # fmt: skip
"""Topics of the channels. Each topic has the same number of channels."""

_CHANNELS_PER_TOPIC = 60
_NAMES = "Alder Birch Cedar Dune Ember Fjord Grove Harbor Isle Juniper Kestrel Lagoon Meadow Nimbus Opal Prairie"
_KINDS = "Academy Channel Club Corner Daily Diary Lab Notes Show Studio Workshop World"
_COUNTRIES = {"en": ["US", "GB", "AU", "IE"], "de": ["DE", "AT"], "fr": ["FR"], "es": ["ES", "MX"], "ja": ["JP"]}
_ID_CHARACTERS = string.ascii_letters + string.digits + "-_"


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel.

    Attributes:
        declared_language: The language that the channel states, if it does.
        shows_country: Whether it states its country.
        hides_subscribers: Whether the number of subscribers is hidden.
        uploads: Times of its newest uploads, newest first.
    """

    id: str
    topic: str
    title: str
    handle: str
    language: str
    declared_language: str | None
    country: str
    shows_country: bool
    subscribers: int
    hides_subscribers: bool
    created: datetime
    uploads: tuple[datetime, ...]

    @property
    def description(self) -> str:
        """The channel's own description."""
        return f"{self.title}: all about {self.topic}, for beginners and experts.\nNew videos when they are ready."

    @property
    def playlist(self) -> str:
        """Id of the playlist with its uploads."""
        return f"UU{self.id[2:]}"

    def video_id(self, place: int) -> str:
        """Return the id of an upload by its position, from 0."""
        return f"{self.id[2:10]}{place:03}"


def channels(seed: int, now: datetime) -> tuple[Channel, ...]:
    """Generate the channels.

    Args:
        seed: Equal seeds give equal channels.
        now: Time with a zone, to which the dates of uploads are relative.
    """
    rng = random.Random(f"{seed} channels")  # noqa: S311 - repeatable, not secret
    made = [_channel(rng, topic, now) for topic in TOPICS for _ in range(_CHANNELS_PER_TOPIC)]
    rng.shuffle(made)
    return tuple(made)


def _channel(rng: random.Random, topic: str, now: datetime) -> Channel:
    language = rng.choices(tuple(_COUNTRIES), (6, 2, 1, 2, 1))[0]
    name, number = (
        f"{rng.choice(_NAMES.split())} {topic.capitalize()} {rng.choice(_KINDS.split())}",
        rng.randrange(1000),
    )
    newest = now - timedelta(days=rng.expovariate(1 / 60), hours=1)
    count = 0 if happens(rng, 0.05) else rng.randint(1, 10)
    return Channel(
        id="UC" + "".join(rng.choices(_ID_CHARACTERS, k=22)),
        topic=topic,
        title=name,
        handle=f"@{name.replace(' ', '').lower()}{number}",
        language=language,
        declared_language=language if happens(rng, 0.4) else None,
        country=rng.choice(_COUNTRIES[language]),
        shows_country=happens(rng, 0.7),
        subscribers=int(10 ** rng.uniform(1.5, 6.5)),
        hides_subscribers=happens(rng, 0.07),
        created=now - timedelta(days=rng.randint(400, 4000)),
        uploads=tuple(newest - timedelta(days=6 * place) for place in range(count)),
    )
