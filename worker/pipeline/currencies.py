"""Currencies: their codes, signs and names, and what their units buy."""

from __future__ import annotations

from worker.pipeline.text import words

# ISO 4217 codes of national currencies in use, each with its purchasing power: units that buy what one US dollar buys
# in the United States ("-": unknown). World Bank, World Development Indicators, PA.NUS.PPP, 2024 or the latest year
# since 2021, CC BY 4.0, rounded to two digits. EUR: Germany. XAF: Cameroon. XOF: Ivory Coast. XCD: Saint Lucia.
# FKP, GIP, SHP: as GBP.
_PURCHASING_POWER = """
AED 2.3  AFN 15  ALL 40  AMD 150  AOA 270  ARS 420  AUD 1.4  AWG 1.4  AZN 0.49  BAM 0.68  BBD 2.1  BDT 30
BGN 0.76  BHD 0.17  BIF 880  BMD 1.1  BND 0.49  BOB 2.4  BRL 2.5  BSD 0.96  BTN 20  BWP 5.1  BYN 0.82
BZD 1.1  CAD 1.2  CDF 1000  CHF 0.95  CLP 440  CNY 3.5  COP 1400  CRC 310  CUP -  CVE 47  CZK 13  DJF 81
DKK 6.1  DOP 24  DZD 44  EGP 6.2  ERN 4.9  ETB 27  EUR 0.7  FJD 0.94  FKP 0.66  GBP 0.66  GEL 0.89  GHS 4.2
GIP 0.66  GMD 17  GNF 3200  GTQ 3.3  GYD 77  HKD 5.6  HNL 11  HTG 89  HUF 180  IDR 4700  ILS 3.5  INR 20
IQD 550  IRR 120000  ISK 140  JMD 94  JOD 0.3  JPY 94  KES 43  KGS 26  KHR 1300  KMF 190  KPW -  KRW 810
KWD 0.19  KYD 0.93  KZT 160  LAK 4400  LBP 24000  LKR 87  LRD 0.46  LSL 5.9  LYD 2.2  MAD 4  MDL 7.2
MGA 1300  MKD 20  MMK 480  MNT 1200  MOP 4.6  MRU 11  MUR 17  MVR 7.9  MWK 490  MXN 9.9  MYR 1.4  MZN 25
NAD 6.9  NGN 180  NIO 12  NOK 9.1  NPR 34  NZD 1.5  OMR 0.19  PAB 0.46  PEN 1.8  PGK 2.4  PHP 19  PKR 67
PLN 1.9  PYG 2600  QAR 2.2  RON 1.9  RSD 45  RUB 29  RWF 360  SAR 1.8  SBD 6.1  SCR 7.8  SDG 730  SEK 8.5
SGD 0.8  SHP 0.66  SLE 5.2  SOS 11000  SRD 11  SSP 130  STN 13  SVC 0.42  SYP 1800  SZL 6.1  THB 10  TJS 2.7
TMT 1.5  TND 0.9  TOP 1.7  TRY 11  TTD 3.5  TWD -  TZS 730  UAH 12  UGX 1200  USD 1  UYU 26  UZS 3400  VED -
VES -  VND 7000  VUV 110  WST 1.7  XAF 200  XCD 1.4  XCG 1.3  XOF 220  XPF -  YER -  ZAR 7.4  ZMW 7.4
ZWG 8.3
"""
_UNITS = {
    code: None if units == "-" else float(units)
    for code, units in zip(_PURCHASING_POWER.split()[::2], _PURCHASING_POWER.split()[1::2], strict=True)
}

_NAMES = {
    "US$": "USD", "C$": "CAD", "CA$": "CAD", "CAN$": "CAD", "CDN$": "CAD", "A$": "AUD", "AU$": "AUD", "NZ$": "NZD",
    "S$": "SGD", "HK$": "HKD", "R$": "BRL", "MX$": "MXN", "REAIS": "BRL", "€": "EUR", "EURO": "EUR", "EUROS": "EUR",
    "T€": "EUR", "TEUR": "EUR", "£": "GBP", "POUND": "GBP", "POUNDS": "GBP", "₹": "INR", "ZŁ": "PLN", "ZŁOTYCH": "PLN",
    "₪": "ILS", "₩": "KRW", "₱": "PHP", "₫": "VND", "₺": "TRY", "₴": "UAH", "₦": "NGN", "฿": "THB", "KČ": "CZK",
    "FR": "CHF", "SFR": "CHF", "FRANKEN": "CHF",
}  # fmt: skip
_CROWNS: dict[str | None, str] = {"SE": "SEK", "NO": "NOK", "DK": "DKK", "IS": "ISK"}
_RUPEES: dict[str | None, str] = {None: "INR", "IN": "INR", "PK": "PKR", "LK": "LKR", "NP": "NPR", "MU": "MUR"}
_DOLLARS: dict[str | None, str] = {
    "US": "USD", "PR": "USD", "CA": "CAD", "AU": "AUD", "NZ": "NZD", "SG": "SGD", "HK": "HKD", "MX": "MXN",
    "CL": "CLP", "CO": "COP", "AR": "ARS",
}  # fmt: skip
_NAMES_BY_COUNTRY: dict[str, dict[str | None, str]] = {
    "$": _DOLLARS,
    "DOLLARS": _DOLLARS,
    "¥": {"JP": "JPY", "CN": "CNY"},
    "KR": _CROWNS,
    "KRONOR": {"SE": "SEK"},
    "KRONER": _CROWNS,
    "R": {None: "ZAR", "BR": "BRL"},
    "RS": _RUPEES,
    "RUPEES": _RUPEES,
}
_EURO_AREA = words("AT BE BG CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK")


def currency_code(text: str | None, country: str | None) -> str | None:
    """Return the ISO 4217 code for a currency's code, sign or name; None if unknown, such as `$` without a country."""
    if text is None:
        return None
    name = text.strip().upper().removesuffix(".")
    if name in _UNITS:
        return name
    by_country = _NAMES_BY_COUNTRY.get(name, {})
    return _NAMES.get(name) or by_country.get(country) or by_country.get(None)


def currency_of(country: str | None) -> str | None:
    """Return the ISO 4217 code of a country's currency, or None. National codes begin with the country's code."""
    if country in _EURO_AREA:
        return "EUR"
    return next((code for code in _UNITS if code[:2] == country), None)


def is_currency(text: str) -> bool:
    """Return whether a text is a code, a sign or a name of a currency, of any country."""
    name = text.strip().upper().removesuffix(".")
    return name in _UNITS or name in _NAMES or name in _NAMES_BY_COUNTRY


def in_international_dollars(amount: float, currency: str | None) -> float | None:
    """Return what an amount buys, in US dollars of the United States; None if that is unknown for its currency."""
    units = _UNITS.get(currency or "")
    return None if units is None else amount / units
