"""Samples of good parts on their way into a folder: what is no sample is turned away with the reason."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from calibration.samples.contact_sheet import rejection_sheet
from calibration.samples.sample_folder import SampleFolder
from calibration.samples.screening import Rejected, Sample, Screener, Screening, read_samples
from edge.capture.images.image_reader import line_reader
from edge.capture.images.rejected_images import MOST_REMEMBERED
from edge.core.config import Settings
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.core.progress import say, working

# good samples that the contact sheet shows beside those turned away
_COMPARED = 5


@dataclass
class Collection:
    """Samples on their way into the folder.

    wanted: how many there shall be, None: as many as the source has. turned_away: those of this session.
    """

    folder: SampleFolder
    screener: Screener
    wanted: int | None
    kept: list[Path] = field(default_factory=list)
    turned_away: deque[Rejected] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))
    _offered: int = 0
    _told_most: bool = False
    # stored file → the file it came from, which is the name that people know
    _origins: dict[str, str] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        return self.wanted is not None and len(self.kept) >= self.wanted

    def offer(self, picture: U8 | None, fault: str = "", name: str = "") -> bool:
        """Keep the picture, or turn it away and remember why; whether it was kept. name: of a file, if it is one.

        Files are held against each other when all of them are there. A live picture is held against those before it at
        once, while the part is still at hand; unless so many were unlike them that the first may be the strange ones.
        """
        self._offered += 1
        path = self.folder.next_path()
        strangers = sum(each.reason.suspicion for each in self.turned_away)
        at_once = not name and strangers <= len(self.kept) / 2
        shown = Path(name).name or f"picture {self._offered}"
        rejected = self.screener.add(Sample(str(path), picture, fault, shown), at_once=at_once)
        if rejected is not None:
            detail = rejected.detail
            for stored, origin in self._origins.items():
                detail = detail.replace(stored, origin)
            self.turned_away.append(replace(rejected, name=name or f"picture {self._offered}", detail=detail))
            if len(self.turned_away) == MOST_REMEMBERED and not self._told_most:
                self._told_most = True
                say(f"  {MOST_REMEMBERED} pictures were turned away; of more, only the last ones are counted")
            return False
        if name:
            self._origins[path.name] = Path(name).name
        assert picture is not None, "a picture that is missing is turned away"
        try:
            self.kept.append(self.folder.store(picture))
        except UsageError:
            # else the next try would be its duplicate
            self.screener.forget(str(path))
            raise
        return True

    def name_of(self, name: str) -> str:
        """What people know a sample by: its file, and the one it came from."""
        stored = Path(name).name
        return f"{stored}, from {self._origins[stored]}," if stored in self._origins else stored

    def undo(self) -> Path | None:
        """Take the last sample of the folder out again."""
        if not self.kept:
            return None
        path = self.kept.pop()
        self.screener.forget(str(path))
        self.folder.remove(path)
        return path

    def screening(self) -> Screening:
        """All samples held against each other."""
        with working("holding all samples against each other"):
            return self.screener.screening()

    def write_sheet(self, suspicious: Sequence[Rejected], accepted: Sequence[str]) -> Path | None:
        """The contact sheet of what was turned away, beside some that were not; None when there is nothing to show."""
        shown = [*suspicious, *(each for each in self.turned_away if Path(each.name).is_file())]
        if not shown:
            return None
        return self.folder.write_sheet(rejection_sheet(shown, accepted[:_COMPARED]))

    def leave_out(self, suspicious: Sequence[Rejected]) -> None:
        """Move samples into quarantine."""
        self.set_aside([Path(each.name) for each in suspicious])

    def set_aside(self, samples: Sequence[Path]) -> None:
        """The same by their files."""
        self.folder.set_aside([str(path) for path in samples])
        self.kept = [path for path in self.kept if path.exists()]

    def require_enough(self, least: int) -> None:
        """Raises UsageError with what was turned away when there are too few samples to learn from."""
        count = len(self.kept)
        if count >= least:
            return
        turned_away = self.screener.turned_away
        self.screener.invalid.refuse_most(count + len(turned_away))
        reasons = ", ".join(sorted({str(each.reason) for each in turned_away}))
        more = f"; {len(turned_away)} were turned away: {reasons}" if reasons else ""
        raise UsageError(
            f"{count} samples of good parts, at least {least} are needed{more}",
            fix="show more parts with the same command; 60 or more are better, and every one must be another part",
        )


def open_collection(folder: SampleFolder, settings: Settings, wanted: int | None) -> Collection:
    """A collection that goes on with the samples of the folder; what is none any more, or never was, is set aside."""
    rectangle, _ = settings.roi.as_tuples
    collection = Collection(folder, Screener(freshness=settings.freshness, rectangle=rectangle), wanted)
    for sample in read_samples(folder.paths(), line_reader(settings)):
        rejected = collection.screener.add(sample)
        if rejected is None:
            collection.kept.append(Path(sample.name))
        else:
            say(f"  {Path(sample.name).name}: {rejected}")
            folder.set_aside([sample.name])
    return collection
