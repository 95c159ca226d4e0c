"""Advice for what is in quarantine."""

from receiver.domain import verdicts
from receiver.domain.advice import advise, advise_verdict
from receiver.domain.verdicts import QUARANTINE_REASONS, Verdict


def test_every_reason_for_quarantine_has_advice_of_its_own() -> None:
    general = advise("of a later version")
    assert [reason for reason in QUARANTINE_REASONS if advise(reason) == general] == []
    assert "replay its delivery" in general


def test_every_verdict_without_effect_has_advice() -> None:
    known = [verdict for verdict in vars(verdicts).values() if isinstance(verdict, Verdict)]
    advised = {verdict for verdict in known if advise_verdict(verdict.outcome, verdict.reason)}
    assert advised == {verdict for verdict in known if verdict.outcome not in {"applied", "quarantined"}}
    assert len(advised) >= 6
