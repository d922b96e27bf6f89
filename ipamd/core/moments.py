"""Instants as RFC 3339 text and back, by arithmetic on the calendar: the machine has no clock and no time zone."""

from __future__ import annotations

import re

from .types import SECOND, Instant

_FORM = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII)
_DAYS_TO_EPOCH = 719_468
"""From 0000-03-01 to 1970-01-01: years are counted from March, so that a leap day is a year's last."""


def rfc3339(instant: Instant, fraction: bool = False) -> str:
    """`2026-08-21T10:15:00Z` of an instant; with `fraction` as many digits of the second as there are."""
    seconds, part = divmod(instant, SECOND)
    days, rest = divmod(seconds, 86_400)
    era, day_of_era = divmod(days + _DAYS_TO_EPOCH, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_index + 2) // 5 + 1
    month = month_index + 3 if month_index < 10 else month_index - 9
    year = year_of_era + era * 400 + (month <= 2)
    digits = f".{part:09}".rstrip("0") if fraction and part else ""
    return f"{year:04d}-{month:02d}-{day:02d}T{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}{digits}Z"


def instant_of(text: str) -> Instant | None:
    """The instant of an RFC 3339 time; None if it is none. Fractions of a second count down to the ns."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
        return None
    shifted = year - (month <= 2)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    era, year_of_era = divmod(shifted, 400)
    days = era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - _DAYS_TO_EPOCH
    offset = 0
    if found[9]:
        offset = (int(found[10]) * 60 + int(found[11])) * (60 if found[9] == "+" else -60)
    fraction = int((found[7] or ".0")[1:10].ljust(9, "0"))
    return (days * 86_400 + hour * 3600 + minute * 60 + second - offset) * SECOND + fraction
