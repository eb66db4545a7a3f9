"""What a person says about a part that was judged, and what that means for its verdict."""

from __future__ import annotations

from enum import Enum

from edge.core.datatypes import Decision
from edge.core.errors import UsageError


class Answer(str, Enum):
    """What a person sees on the part; whoever answers need not know the verdict."""

    GOOD = "good"
    DEFECT = "defect"
    UNSURE = "unsure"


class Label(str, Enum):
    """confirm: NG and defective. false_reject: NG and good. ok_confirmed: OK and good. escape: OK and defective.

    withdrawn: whoever gave a label took it back; the part is as if nobody had looked at it.
    """

    CONFIRM = "confirm"
    FALSE_REJECT = "false_reject"
    OK_CONFIRMED = "ok_confirmed"
    ESCAPE = "escape"
    UNSURE = "unsure"
    WITHDRAWN = "withdrawn"


_LABELS = {
    (Decision.NG, Answer.DEFECT): Label.CONFIRM,
    (Decision.NG, Answer.GOOD): Label.FALSE_REJECT,
    (Decision.NG, Answer.UNSURE): Label.UNSURE,
    (Decision.OK, Answer.DEFECT): Label.ESCAPE,
    (Decision.OK, Answer.GOOD): Label.OK_CONFIRMED,
    (Decision.OK, Answer.UNSURE): Label.UNSURE,
}


def label_of(decision: Decision, answer: Answer) -> Label:
    """The label that an answer gives a verdict; raises UsageError for a part that was not judged."""
    label = _LABELS.get((decision, answer))
    if label is None:
        raise UsageError(
            f"the verdict is {decision}: the part was not judged, so there is nothing that could be right or wrong",
            fix="label verdicts that are OK or NG",
        )
    return label
