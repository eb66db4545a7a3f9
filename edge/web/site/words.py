"""What operators read: decisions, reasons and states of a line in everyday words."""

from __future__ import annotations

from dataclasses import dataclass

from edge.core.datatypes import Decision
from edge.review.labels import Label

MEANING = {Decision.OK: "good part", Decision.NG: "bad part", Decision.INVALID: "not judged"}


LABEL_WORDS = {
    Label.CONFIRM: "rightly rejected",
    Label.FALSE_REJECT: "good, but rejected",
    Label.OK_CONFIRMED: "rightly accepted",
    Label.ESCAPE: "defective, but accepted",
    Label.UNSURE: "not sure",
}
# the line was wrong
WRONG = (Label.FALSE_REJECT, Label.ESCAPE)


@dataclass(frozen=True)
class Words:
    """what: happened; advice: what to do about it, empty where nothing is to be done."""

    what: str
    advice: str = ""


_REASONS = {
    "below_threshold": Words("No defect found"),
    "above_threshold": Words("Defect found", "Put the part aside"),
    "no_frame": Words("The camera sends no picture", "Check the camera, its cable and its power"),
    "frozen": Words("The picture does not change", "Check the camera"),
    "stale": Words("The picture came too late", "Tell an engineer if this goes on"),
    "black": Words("The picture is black", "Check the light and the lens cap"),
    "saturated": Words("The picture is too bright", "Check the light and the exposure"),
    "wrong_size": Words("The picture has another size than expected", "Tell an engineer: the camera was changed"),
    "undecodable": Words("The picture is damaged", "Check the camera's cable or network"),
    "model_error": Words("The inspection failed on this picture", "Tell an engineer if this goes on"),
    "deadline_missed": Words("The inspection took too long", "Tell an engineer if this goes on"),
    "part_not_found": Words("No part found in the picture", "Check how the part lies"),
    "part_moving": Words("The part did not come to rest", "Check the conveyor"),
    "no_reference": Words("There is no golden picture for this part", "Tell an engineer"),
    "overrun": Words("Parts came faster than they can be judged", "Slow the line down"),
    "incomplete": Words("The picture is not complete", "Check the camera's cable or network"),
    "missed_frame": Words("The camera skipped a picture", "Check the camera's cable or network"),
}


def reason_words(reason: str) -> Words:
    """For an operator; of a reason that this version does not know, the reason itself."""
    return _REASONS.get(reason) or Words(reason.replace("_", " ").capitalize(), "Tell an engineer")


def known_reasons() -> dict[str, str]:
    """Every reason with what it means, in the order in which pages list them."""
    return {reason: words.what for reason, words in _REASONS.items()}


def age_text(seconds: float) -> str:
    """How long ago something was: now, 12 s ago, 5 min ago, 3 h ago, 2 days ago."""
    if seconds < 2:
        return "now"
    for limit, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit_s:.0f} {unit} ago"
    return f"{seconds / 86400:.0f} days ago"
