"""Pay."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.salaries import assert_sound
from worker.pipeline.currencies import currency_code
from worker.pipeline.salaries import NO_SALARY, Salary, clean_salary

AMOUNTS = st.none() | st.floats() | st.floats(1, 1e6)


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
        ((0, 30, "per mission", "QQQ", None), Salary(None, 30, None, None)),
        # The only interval that is plausible for the amounts in their currency.
        ((50_000, 70_000, None, "USD", None), Salary(50_000, 70_000, "yearly", "USD")),
        ((600_000, 1_500_000, None, "INR", None), Salary(600_000, 1_500_000, "yearly", "INR")),
        ((7_000_000, 9_000_000, None, "HUF", None), Salary(7_000_000, 9_000_000, "yearly", "HUF")),
        ((18, 24.5, "NONE", "GBP", None), Salary(18, 24.5, "hourly", "GBP")),
        ((3_000, 4_000, None, "EUR", "NL"), Salary(3_000, 4_000, "monthly", "EUR")),
        ((25_000, 35_000, None, "INR", "IN"), Salary(25_000, 35_000, "monthly", "INR")),
        # Several are plausible.
        ((3_000, 4_000, None, "EUR", "IE"), Salary(3_000, 4_000, None, "EUR")),
        ((300_000, 400_000, None, "JPY", "JP"), Salary(300_000, 400_000, None, "JPY")),
        ((100, 120, None, "USD", "US"), Salary(100, 120, None, "USD")),
        ((50_000, 70_000, None, None, None), Salary(50_000, 70_000, None, None)),
        # The amounts rule the interval out.
        ((136_000, 136_000, "hourly", "USD", None), Salary(136_000, 136_000, "yearly", "USD")),
        ((136_000, 136_000, "hourly", "$", None), Salary(136_000, 136_000, None, None)),
        ((25, 30, "YEARLY", "USD", "US"), Salary(25, 30, "hourly", "USD")),
        ((150_000, 180_000, "month", "USD", "US"), Salary(150_000, 180_000, "yearly", "USD")),
        ((400_000, None, "monthly", "INR", "IN"), Salary(400_000, None, "monthly", "INR")),
        # Several weeks or months.
        ((3_000, 4_001, "2 WEEK", "USD", None), Salary(1_500, 2_000.5, "weekly", "USD")),
        ((3_000, 4_000, "biweekly", "USD", None), Salary(1_500, 2_000, "weekly", "USD")),
        ((2_000, None, "semi-monthly", "USD", None), Salary(4_000, None, "monthly", "USD")),
        ((90_000, None, "1 YEAR", "USD", None), Salary(90_000, None, "yearly", "USD")),
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
        ("Rs.", None, "INR"),
        ("Rs", "PK", "PKR"),
        ("zł", None, "PLN"),
        ("Fr.", None, "CHF"),
        ("kr", "DE", None),
        ("kronor", "SE", "SEK"),
        (None, "US", None),
    ],
)
def test_currency(text: str | None, country: str | None, code: str | None) -> None:
    assert currency_code(text, country) == code


@given(
    AMOUNTS,
    AMOUNTS,
    st.none() | st.sampled_from(["hour", "Annual", "2 WEEK", "semi-month", "?"]) | st.text(),
    st.none() | st.sampled_from(["$", "EUR", "INR"]) | st.text(),
    st.sampled_from([None, "US", "IN"]),
)
def test_given_pay_is_in_order(
    least: float | None, most: float | None, interval: str | None, currency: str | None, country: str | None
) -> None:
    salary = clean_salary(least, most, interval, currency, country)
    assert clean_salary(*salary, country) == salary
    assert_sound(salary)
