"""What reinspect writes: one Parquet file for each shard and version of a bundle, whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from hashlib import sha256
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from edge import __version__
from edge.bundles.bundle import ModelBundle
from edge.core.errors import RecordError
from edge.core.files.atomic_file import PART_END, sync_directory, write_atomic
from edge.core.files.text_names import storable
from edge.core.hardware import read_processor
from edge.fleet.archive.judge import Judging
from edge.fleet.archive.names import file_name
from edge.fleet.archive.recorded import TRIED_AGAIN, Outcome, Recorded, Result, Shard
from edge.inspection.inspectors import precision_and_calibration

if TYPE_CHECKING:
    import pyarrow

END = ".parquet"
_FORMAT = 1
_KEY = b"edge_inspect"
# in the order of the columns; the archive's come first
_NEW = tuple(field.name for field in fields(Result) if field.name != "recorded")
_TYPES = {
    "verdict_id": "int64", "score": "float64", "threshold": "float64", "new_score": "float64",
    "new_threshold": "float64", "new_review": "bool", "of_several": "bool",
    "sample_p": "float64",
}  # fmt: skip


@dataclass(frozen=True)
class ShardKey:
    """judged_by: bundle, settings and program. inputs: what the archive says of the shard's verdicts."""

    judged_by: str
    inputs: str

    def as_json(self) -> dict[str, str]:
        return {"judged_by": self.judged_by, "inputs": self.inputs}


def judged_by(judging: Judging, bundle: ModelBundle) -> str:
    """A hash of all that decides a result beside the picture, but for the kind of processor."""
    settings = judging.settings
    inspection, backend = settings.inspection, settings.inspection.backend
    precision, calibration = precision_and_calibration(bundle, settings)
    values = [
        _FORMAT, __version__, backend, _version_of(backend), precision, calibration.model_sha256, bundle.sha256,
        inspection.uncalibrated, settings.freshness.model_dump(), _content(inspection.reference),
    ]  # fmt: skip
    return sha256(json.dumps(values).encode()).hexdigest()


def inputs_of(verdicts: Sequence[Recorded]) -> str:
    """A hash of what the archive says of these verdicts."""
    digest = sha256()
    for each in verdicts:
        digest.update(json.dumps(astuple(each)).encode())
    return digest.hexdigest()


class Results:
    """The results of one version of a bundle, in a folder that is named after it, and after the only product wanted.

    So a look at one product takes nothing away from a night's work on all of them.
    """

    def __init__(self, out: Path, bundle_sha256: str, product: str | None = None) -> None:
        self.folder = out / (bundle_sha256[:16] + ("" if product is None else f"-{file_name(product)}"))

    def path(self, shard: Shard) -> Path:
        return self.folder / f"{shard.name}{END}"

    def read(self, shard: Shard) -> tuple[ShardKey, list[Result]] | None:
        """What is there of a shard; None without a whole file of this format."""
        path = self.path(shard)
        if not path.is_file():
            return None
        import pyarrow.parquet

        # whatever the library says of a damaged file: the shard is judged again
        with contextlib.suppress(Exception):
            table = pyarrow.parquet.read_table(path, page_checksum_verification=True, partitioning=None)
            head = json.loads(table.schema.metadata[_KEY])
            if head["format"] == _FORMAT:
                return ShardKey(head["judged_by"], head["inputs"]), _results(table)
        return None

    def write(self, shard: Shard, key: ShardKey, results: Sequence[Result]) -> None:
        """Replace what is there, at once. Raises RecordError."""
        path = self.path(shard)
        data = parquet_bytes(results, key)
        # two processes may write the same shard, one of them taken for dead; each its own file, both the same bytes
        part = path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}{PART_END}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(part, data)
            part.replace(path)
            sync_directory(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise RecordError(
                f"{path} cannot be written: {error.strerror or error}",
                fix="make room, or mend the disk, and give the same command again: finished shards are not judged anew",
            ) from error

    def remove_leftovers(self) -> None:
        """What a killed process left; only while no other one writes here."""
        for path in self.folder.rglob(f"*{PART_END}"):
            with contextlib.suppress(OSError):
                path.unlink()


def is_finished(found: tuple[ShardKey, list[Result]] | None, key: ShardKey) -> bool:
    """Whether nothing is left to be done for a shard."""
    return found is not None and found[0] == key and not any(each.outcome in TRIED_AGAIN for each in found[1])


def reusable(found: tuple[ShardKey, list[Result]] | None, key: ShardKey) -> dict[tuple[str, int, str | None], Result]:
    """Results of an earlier run that still hold, by verdict and picture: also of pictures that are pruned by now."""
    if found is None or found[0].judged_by != key.judged_by:
        return {}
    return {
        (*each.recorded.key, each.recorded.picture_sha256): each for each in found[1] if each.outcome is Outcome.JUDGED
    }


def parquet_bytes(results: Sequence[Result], key: ShardKey) -> bytes:
    """The whole file. The same results give the same bytes, with the same version of pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet

    names = _columns()
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for each in results:
        values = (*astuple(each.recorded), *_new_values(each), each.flip, each.recorded.day)
        for name, value in zip(names, values, strict=True):
            columns[name].append(storable(value) if isinstance(value, str) else value)
    head = {
        "format": _FORMAT, **key.as_json(), "software": f"edge-inspect {__version__}",
        "processor": read_processor().name,
    }  # fmt: skip
    schema = pa.schema(
        [pa.field(name, pa.type_for_alias(_TYPES.get(name, "string"))) for name in names],
        metadata={_KEY: json.dumps(head)},
    )
    sink = BytesIO()
    pyarrow.parquet.write_table(pa.table(columns, schema=schema), sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def _columns() -> tuple[str, ...]:
    return (*(field.name for field in fields(Recorded)), *(_new_name(name) for name in _NEW), "flip", "day")


def _new_name(name: str) -> str:
    return name if name == "outcome" else f"new_{name}"


def _new_values(result: Result) -> tuple[Any, ...]:
    return tuple(getattr(result, name) for name in _NEW)


def _results(table: pyarrow.Table) -> list[Result]:
    old, new = [field.name for field in fields(Recorded)], [_new_name(name) for name in _NEW]
    found = []
    for row in table.to_pylist():
        values = [row[name] for name in new]
        found.append(Result(Recorded(*(row[name] for name in old)), Outcome(values[0]), *values[1:]))
    return found


def _version_of(backend: str) -> str:
    try:
        return metadata.version(backend)
    except metadata.PackageNotFoundError:
        return ""


def _content(reference: str | None) -> str:
    """What a golden picture, or a folder of them, holds: names, sizes and times of change."""
    if reference is None:
        return ""
    place = Path(reference)
    files = sorted(path for path in (place.rglob("*") if place.is_dir() else [place]) if path.is_file())
    return repr([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files])
