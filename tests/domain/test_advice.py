"""Advice for what is in quarantine."""

from receiver.domain.advice import advise
from receiver.domain.verdicts import QUARANTINE_REASONS


def test_every_reason_for_quarantine_has_advice_of_its_own() -> None:
    general = advise("of a later version")
    assert [reason for reason in QUARANTINE_REASONS if advise(reason) == general] == []
    assert "replay its delivery" in general
