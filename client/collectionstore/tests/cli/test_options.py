"""Durations as csctl accepts them."""

from __future__ import annotations

import click
import pytest

from collectionstore.cli.options import LONG_DURATION, SHORT_DURATION


@pytest.mark.parametrize(("text", "seconds"), [("100ms", 0.1), ("5s", 5.0), ("1.5m", 90.0)])
def test_short_durations(text: str, seconds: float) -> None:
    assert SHORT_DURATION.convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30.0), ("10m", 600.0), ("24h", 86_400.0), ("7d", 604_800.0)])
def test_long_durations(text: str, seconds: float) -> None:
    assert LONG_DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "0s", "-1s", "1w", "100ms", "1e9d", "yesterday", "٣s", "9" * 400 + "d"])
def test_other_texts_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(click.BadParameter, match="allowed: a number above 0 and s, m, h or d"):
        LONG_DURATION.convert(text, None, None)
