"""How boards spell, format and reword one job, and how the jobs of one template differ."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from random import Random

from markdown_it import MarkdownIt

from scripts.bench.dedupe_listings import Listing

STATES = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado",
    "CT": "Connecticut", "DE": "Delaware", "DC": "District of Columbia", "FL": "Florida", "GA": "Georgia",
    "HI": "Hawaii", "ID": "Idaho", "IL": "Illinois", "IN": "Indiana", "IA": "Iowa", "KS": "Kansas", "KY": "Kentucky",
    "LA": "Louisiana", "ME": "Maine", "MD": "Maryland", "MA": "Massachusetts", "MI": "Michigan", "MN": "Minnesota",
    "MS": "Mississippi", "MO": "Missouri", "MT": "Montana", "NE": "Nebraska", "NV": "Nevada", "NH": "New Hampshire",
    "NJ": "New Jersey", "NM": "New Mexico", "NY": "New York", "NC": "North Carolina", "ND": "North Dakota",
    "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon", "PA": "Pennsylvania", "RI": "Rhode Island",
    "SC": "South Carolina", "SD": "South Dakota", "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VT": "Vermont",
    "VA": "Virginia", "WA": "Washington", "WV": "West Virginia", "WI": "Wisconsin", "WY": "Wyoming",
}  # fmt: skip

_SYNONYMS = (
    ("looking for", "seeking"), ("seeking", "searching for"), ("responsible for", "in charge of"),
    ("we offer", "we provide"), ("must have", "needs"), ("must be able to", "has to be able to"),
    ("ability to", "able to"), ("experience", "background"), ("requirements", "what you need"),
    ("required", "needed"), ("responsibilities", "duties"), ("duties", "tasks"), ("qualifications", "what you bring"),
    ("preferred", "a plus"), ("competitive", "attractive"), ("opportunity", "chance"), ("employees", "staff"),
    ("employee", "staff member"), ("customers", "clients"), ("clients", "customers"), ("provide", "give"),
    ("ensure", "make sure"), ("maintain", "keep up"), ("assist", "help"), ("team", "crew"),
    ("excellent", "outstanding"), ("strong", "solid"), ("including", "such as"), ("as well as", "and also"),
    ("perform", "carry out"), ("environment", "setting"), ("schedule", "timetable"), ("benefits", "perks"),
    ("candidate", "applicant"), ("join", "become part of"), ("work with", "work alongside"), ("other", "further"),
    ("safe", "secure"), ("great", "terrific"), ("minimum", "at least"), ("complete", "finish"),
    ("support", "back up"),
)  # fmt: skip

_LEVELS = (
    "Senior", "Junior", "Lead", "Assistant", "Principal", "Head", "Trainee", "Supervisor", "Manager", "Associate",
    "II", "III",
)  # fmt: skip
_SHIFTS = (
    ("overnight", "day"), ("night", "day"), ("3rd shift", "1st shift"), ("2nd shift", "1st shift"),
    ("part time", "full time"), ("part-time", "full-time"), ("full time", "part time"), ("full-time", "part-time"),
    ("weekend", "weekday"), ("graveyard", "morning"), ("evening", "morning"),
)  # fmt: skip

_SHARE_OF_SYNONYMS = 0.6
_SHARE_OF_LOST_LINES = 0.08
_FEW_LINES = 5

_markdown = MarkdownIt("commonmark")


def as_html(markdown: str) -> str:
    """Return a description as HTML."""
    rendered: str = _markdown.render(markdown)
    return rendered


def as_plain_text(markdown: str) -> str:
    """Return a description as text without markup."""
    text = re.sub(r"^\s*[*+-] ", "• ", markdown, flags=re.MULTILINE)
    return re.sub(r"\n{2,}", "\n", re.sub(r"\*\*|__|(?<!\w)\*|\*(?!\w)|\\|^#+ ", "", text, flags=re.MULTILINE))


def formatted(random: Random, markdown: str) -> str:
    """Return a description in one of the three forms."""
    return random.choice((str, as_html, as_plain_text))(markdown)


def truncated(random: Random, markdown: str) -> str:
    """Return the start of a description, as in a list of results."""
    return as_plain_text(markdown)[: random.randint(150, 600)].rsplit(" ", 1)[0] + " …"


def reworded(random: Random, markdown: str) -> str:
    """Return a reworded description: with synonyms, bullets in another order, and some lines left out."""
    lines = markdown.split("\n")
    kept = [line for line in lines if random.random() > _SHARE_OF_LOST_LINES or len(lines) < _FEW_LINES]
    shuffled: list[str] = []
    bullets: list[str] = []
    for line in [*kept, ""]:
        if line.lstrip().startswith("* "):
            bullets.append(line)
        else:
            random.shuffle(bullets)
            shuffled += [*bullets, line]
            bullets = []
    text = "\n".join(shuffled)
    for words, others in _SYNONYMS:
        text = re.sub(rf"(?i)\b{words}\b", partial(_now_and_then, random, others), text)
    return text


def _now_and_then(random: Random, others: str, found: re.Match[str]) -> str:
    if random.random() > _SHARE_OF_SYNONYMS:
        return found[0]
    return others.capitalize() if found[0][0].isupper() else others


def place_spelled(random: Random, place: tuple[str, str]) -> str:
    """Return a place as another board writes it."""
    city, state = place
    name = STATES.get(state, state)
    if not city:
        return random.choice((f"{name}, United States", f"{state}, US"))
    if city.startswith("Saint "):
        city = random.choice((city, city.replace("Saint ", "St. ")))
    return random.choice((
        f"{city}, {state}", f"{city}, {name}, United States", f"{city}, {state}, USA",
        f"{city}, {state} {random.randint(10000, 99999)}", f"{city}, {name}", f"{city.upper()}, {state}",
    ))  # fmt: skip


def company_spelled(random: Random, company: str) -> str:
    """Return a company's name as another board writes it."""
    bare = re.sub(r"^The |,? (Inc|LLC|Ltd|Corp|Corporation)\.?$", "", company)
    return random.choice(
        (bare, f"{bare}, Inc.", f"{bare} Inc", f"{bare} LLC", f"The {bare}", bare.upper(), f"{bare} Corp.")
    )


def title_spelled(random: Random, title: str) -> str:
    """Return the same words as another board writes them."""
    spellings: list[Callable[[], str]] = [
        title.upper,
        lambda: f"{title} (m/f/d)",
        lambda: f"{title}.",
        lambda: re.sub(r"\s+-\s*|\s*-\s+", " \N{EN DASH} ", title),
        lambda: re.sub(r"\s*\((.*?)\)", r" - \1", title),
        lambda: title.replace("&", "and"),
        lambda: re.sub(r"\bSenior\b", "Sr.", re.sub(r"\bAssistant\b", "Asst.", title)),
        lambda: re.sub(r"\bIII\b", "3", re.sub(r"\bII\b", "2", title)),
        lambda: re.sub(r"(?i)\b(full|part)[- ]time\b", r"\1time", title),
        lambda: title.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}").replace(" ", "  "),
    ]
    return random.choice(spellings)()


def retitled(random: Random, listing: Listing) -> str:
    """Return a reworded title of the same job."""
    title, (city, state) = listing.title, listing.place
    titles = [
        f"{title} - R{random.randint(100000, 999999)}",
        f"Now Hiring: {title}",
        f"{title} Needed",
        f"{title} - Immediate Opening",
    ]
    titles += [
        f"{title} | Great Benefits!",
        f"{title} ($500 Sign-On Bonus)",
        f"{title} - READ DETAILS",
        f"Urgently Hiring {title}",
        f"{title} - up to $25/hr",
    ]
    if city:
        titles += [
            f"{title} - {city}, {state}",
            f"{title} in {city}",
            f"{city} - {title}",
            f"{title} ({city}, {state})",
        ]
    if len(listing.job_types) == 1 and not re.search(r"(?i)\b(time|[fp]t)\b", title):
        titles += {"fulltime": [f"{title} (Full-Time)"], "parttime": [f"{title}, Part Time"]}.get(
            listing.job_types[0], []
        )
    if parts := re.fullmatch(r"(.{3,}?)(?:\s+-\s*|\s*-\s+|,\s+)([^-,]{3,})", title):
        titles += [f"{parts[2]} - {parts[1]}", f"{parts[2]} {parts[1]}"]
    if parts := re.fullmatch(r"(.{3,}?)\s*\((.{3,})\)", title):
        titles += [f"{parts[2]} {parts[1]}", f"({parts[2]}) {parts[1]}"]
    return random.choice(titles)


def another_level(random: Random, title: str) -> str:
    """Return the title of a job of another level."""
    level = random.choice(_LEVELS)
    if present := re.search(rf"\b({'|'.join(_LEVELS)})\b", title, re.IGNORECASE):
        return (title[: present.start()] + random.choice(("", level)) + title[present.end() :]).strip()
    return f"{title} {level}" if level in ("II", "III", "Trainee", "Supervisor", "Manager") else f"{level} {title}"


def another_shift(random: Random, title: str) -> str:
    """Return the title of the same work at another time of day or week."""
    for words, others in _SHIFTS:
        if re.search(rf"(?i)\b{words}", title):
            return re.sub(rf"(?i)\b{words}", others.title(), title)
    return random.choice(
        (f"{title} - Weekends", f"{title} (Evening Shift)", f"Overnight {title}", f"{title} - 2nd Shift")
    )


def another_number(random: Random, title: str) -> str:
    """Return the title with another number, such as that of a store. Without a number, return it unchanged."""
    return re.sub(r"\d+", lambda number: str(int(number[0]) + random.randint(1, 60)), title)
