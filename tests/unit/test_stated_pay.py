"""Pay in descriptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.salaries import assert_sound
from worker.pipeline.pay_amounts import parse_figure
from worker.pipeline.salaries import NO_SALARY, Salary, clean_salary
from worker.pipeline.stated_pay import find_salary

JUDGED: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "stated-pay.jsonl").read_text("utf-8").splitlines()
]
"""Texts as postings of many countries write them, each with the pay that it states; null: none."""
STATED = st.lists(
    st.sampled_from(
        [
            "$",
            "€",
            "USD",
            "12",
            "45,000",
            "60.000",
            "120k",
            "9.50",
            " - ",
            "\u2013",
            " to ",
            "per hour",
            "/yr",
            "a year",
            "Pay:",
            "salary",
            "bonus",
            "up to",
            "from",
            "\n",
            " ",
            "plus",
            ".",
            "(",
            "annual",
            "€ 3.500,-",
            "₹12 LPA",
            "45 000 kr",
            "per månad",
            "brutto",
        ]
    )
    | st.text(max_size=4),
    max_size=20,
).map("".join)


@pytest.mark.parametrize("judged", JUDGED, ids=lambda judged: f"{judged['country']}: {judged['text']}")
def test_judged_text(judged: dict[str, Any]) -> None:
    salary = Salary(*judged["pay"]) if judged["pay"] else NO_SALARY
    assert find_salary(judged["text"], judged["country"]) == salary


@pytest.mark.parametrize(
    ("digits", "value"),
    [
        ("45", 45),
        ("45.5", 45.5),
        ("45,50", 45.5),
        ("45.000", 45_000),
        ("45,000", 45_000),
        ("45 000", 45_000),
        ("85'000", 85_000),
        ("4.200,00", 4_200),
        ("4,200.50", 4_200.5),
        ("1 234,5", 1_234.5),
        ("12,00,000", 1_200_000),
        ("1.234.567,89", 1_234_567.89),
    ],
)
def test_figures_of_each_locale(digits: str, value: float) -> None:
    assert parse_figure(digits) == value


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", "\u2009", " "])
@pytest.mark.parametrize("hyphen", ["-", "\u2011", "\u2013", "\u2014"])
def test_typographic_spaces_and_hyphens(space: str, hyphen: str) -> None:
    text = f"Salaire : 45{space}000{space}€ {hyphen} 55{space}000{space}€ par{space}an"
    assert find_salary(text, "FR") == Salary(45_000, 55_000, "yearly", "EUR")


@pytest.mark.parametrize(
    ("text", "salary"),
    [
        ("Pay from $29 to $36 per hour - That's up to $71,000 with bonuses!", Salary(29, 36, "hourly", "USD")),
        ("$120,000 - $150,000 a year", Salary(120_000, 150_000, "yearly", "USD")),
        ("We pay $120k\u2013$150k per year.", Salary(120_000, 150_000, "yearly", "USD")),
        ("Salary: $120-150k annually", Salary(120_000, 150_000, "yearly", "USD")),
        ("€60.000\u2013€75.000 pro Jahr", Salary(60_000, 75_000, "yearly", "EUR")),
        ("Gehalt: €60.000 pro Jahr", Salary(60_000, 60_000, "yearly", "EUR")),
        ("The base pay range is between $62,400.00 and $77,800.00 per year.", Salary(62_400, 77_800, "yearly", "USD")),
        ("Pay: $17.00 - $20.00 per hour", Salary(17, 20, "hourly", "USD")),
        ("Hourly Wage: $16 - $23 per/hour", Salary(16, 23, "hourly", "USD")),
        ("Compensation: $18 - 19/hour starting pay", Salary(18, 19, "hourly", "USD")),
        ("Pay: $21/hour", Salary(21, 21, "hourly", "USD")),
        ("Pay: From $18.00 per hour", Salary(18, None, "hourly", "USD")),
        ("Pay Rate: Up to $22/hr", Salary(None, 22, "hourly", "USD")),
        ("$17.50 per hour", Salary(17.5, 17.5, "hourly", "USD")),
        (
            "The hourly pay rate for this position is $20.00, plus $2.00 per hour shift differential.",
            Salary(20, 20, "hourly", "USD"),
        ),
        ("Salary range: $150,000-$200,000", Salary(150_000, 200_000, "yearly", "USD")),
        ("Weekly salary: $1,200.00", Salary(1200, 1200, "weekly", "USD")),
        ("Pay: £30,000 - £35,000 per annum", Salary(30_000, 35_000, "yearly", "GBP")),
        ("Pay: $18 - $25 per hour\nNight pay: $20 per hour", Salary(18, 25, "hourly", "USD")),
        ("Pay: $18 per hour.\nPay: $18.00/hr", Salary(18, 18, "hourly", "USD")),
        ("Pay: $20 - $30", Salary(20, 30, "hourly", "USD")),
        ("Pay: from $18 per hour\nPay: $20 per hour", Salary(18, None, "hourly", "USD")),
        ("Pay: from $18 per hour\nPay: up to $25 per hour", Salary(18, 25, "hourly", "USD")),
    ],
)
def test_stated_pay(text: str, salary: Salary) -> None:
    assert find_salary(text, "US") == salary


@pytest.mark.parametrize(
    "text",
    [
        "",
        "$5,000 sign-on bonus",
        "Earn a $500 per month bonus",
        "A $2 per hour shift differential",
        "Tuition: up to $5,250 per year",
        "revenue of $86 - $90 billion a year",
        "We raised $20,000,000 - $30,000,000 last year",
        "Pay: $20 per hour in Austin\nPay: $30 per hour in Boston",
        "Pay: $12 - $900 per hour",
        "Pay: $90,000 per hour",
        "Pay: 20 - 30",
        "Payrates: $31 $41/hour",
        "Work 8 to 10 hours a day",
        "401(k) match up to $3,000 per year",
    ],
)
def test_doubtful_pay_is_none(text: str) -> None:
    assert find_salary(text, "US") == NO_SALARY


def test_dollars_of_an_unknown_country() -> None:
    assert find_salary("Pay: $20 per hour", None) == Salary(20, 20, "hourly", None)
    assert find_salary("Pay: CA$20 per hour", None) == Salary(20, 20, "hourly", "CAD")


@pytest.mark.parametrize(
    "part",
    [
        "$1 ",
        "1",
        "1,",
        "$1-",
        "pay $1 ",
        "€ 1.000 - ",
        "1 000 ",
        "$20/hr ",
        "(",
        "bonus ",
        "excluding ",
        "$9\n",
        "salary 1 ",
    ],
)
def test_time_is_linear(part: str) -> None:
    find_salary(part * (200_000 // len(part)), "US")


@given(STATED, st.sampled_from([None, "US", "DE"]))
def test_stated_pay_is_in_order(text: str, country: str | None) -> None:
    salary = find_salary(text, country)
    assert clean_salary(*salary, country) == salary
    assert_sound(salary)
