"""Pay."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.salaries import NO_SALARY, YEARLY_FACTORS, Salary, clean_salary, currency_code, find_salary

AMOUNTS = st.none() | st.floats() | st.floats(1, 1e6)
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
        ]
    )
    | st.text(max_size=4),
    max_size=20,
).map("".join)


@pytest.mark.parametrize(
    ("given_fields", "salary"),
    [
        ((50_000, 70_000, "yearly", "USD", None), Salary(50_000, 70_000, "yearly", "USD")),
        ((70_000, 50_000, "ANNUAL", "usd", None), Salary(50_000, 70_000, "yearly", "USD")),
        ((20, None, "per hour", "$", "US"), Salary(20, None, "hourly", "USD")),
        ((None, 20, "/hr", "$", None), Salary(None, 20, "hourly", None)),
        ((20, 30, "HOURLY", "$", "CA"), Salary(20, 30, "hourly", "CAD")),
        ((3000, 4000, "month", "€", None), Salary(3000, 4000, "monthly", "EUR")),
        ((0, -5, "yearly", "USD", None), NO_SALARY),
        ((math.nan, math.inf, "yearly", "USD", None), NO_SALARY),
        ((None, None, "hourly", "USD", "US"), NO_SALARY),
        ((0, 30, "fortnightly", "QQQ", None), Salary(None, 30, None, None)),
    ],
)
def test_given_pay(
    given_fields: tuple[float | None, float | None, str | None, str | None, str | None], salary: Salary
) -> None:
    assert clean_salary(*given_fields) == salary


@pytest.mark.parametrize(
    ("interval", "factor"), [("yearly", 1), ("monthly", 12), ("weekly", 52), ("daily", 260), ("hourly", 2080)]
)
def test_yearly_figures(interval: str, factor: int) -> None:
    assert Salary(10, 20.5, interval, "USD").yearly == (10 * factor, 20.5 * factor)
    assert Salary(None, 20, interval, "USD").yearly == (None, 20 * factor)


def test_no_yearly_figure_without_a_period() -> None:
    assert Salary(10, 20, None, "USD").yearly == (None, None)


@pytest.mark.parametrize(
    ("text", "country", "code"),
    [
        ("£", None, "GBP"),
        ("$", "AU", "AUD"),
        ("$", None, None),
        ("$", "FR", None),
        ("CA$", None, "CAD"),
        ("kr", "SE", "SEK"),
        ("eur", None, "EUR"),
        ("ABC", "US", None),
        (None, "US", None),
    ],
)
def test_currency(text: str | None, country: str | None, code: str | None) -> None:
    assert currency_code(text, country) == code


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
        "Pay: $20 - $30",
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


@given(
    AMOUNTS,
    AMOUNTS,
    st.none() | st.sampled_from(["hour", "Annual", "?"]) | st.text(),
    st.none() | st.sampled_from(["$", "EUR"]) | st.text(),
    st.sampled_from([None, "US"]),
)
def test_given_pay_is_in_order(
    least: float | None, most: float | None, interval: str | None, currency: str | None, country: str | None
) -> None:
    salary = clean_salary(least, most, interval, currency, country)
    assert clean_salary(*salary, country) == salary
    assert_sound(salary)


@given(STATED, st.sampled_from([None, "US", "DE"]))
def test_stated_pay_is_in_order(text: str, country: str | None) -> None:
    salary = find_salary(text, country)
    assert clean_salary(*salary, country) == salary
    assert_sound(salary)


def assert_sound(salary: Salary) -> None:
    assert all(amount is None or (amount > 0 and math.isfinite(amount)) for amount in (salary.least, salary.most))
    assert salary.least is None or salary.most is None or salary.least <= salary.most
    assert salary.interval in (None, *YEARLY_FACTORS)
    assert salary.currency is None or len(salary.currency) == 3
    if salary.least is None and salary.most is None:
        assert salary == NO_SALARY
