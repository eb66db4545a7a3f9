"""A channel of the shipped sample bundle, and boxes that follow it."""

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: nothing can be signed")

from edge.bundles.bundle import load_bundle
from edge.bundles.signature import make_keys
from edge.core.config import Settings
from edge.fleet.channel.box import follow
from edge.fleet.channel.publish import publish
from edge.samples import sample_bundle
from tests.bundle_edits import commit_threshold
from tests.edge.fleet.channel.tls_server import Authority, tls_server

# of the live bundle's folder, what a follower writes beside the bundle
_BESIDE = {"history.jsonl", "versions.lock", "making.lock"}


def content(bundle: Path) -> dict[str, str]:
    """The bundle byte for byte: every file that its live manifest names, and the manifest."""
    names = ["manifest.json", *(entry.name for entry in load_bundle(bundle).manifest.files.values())]
    return {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in names}


@dataclass
class Channel:
    """folder: of the channel. source: a bundle of which versions are published."""

    folder: Path
    source: Path
    key: Path
    public: Path

    def publish(self, threshold: float | None = None, **options):
        """The source, with another threshold where one is given."""
        if threshold is not None:
            commit_threshold(load_bundle(self.source), threshold)
        return publish(self.source, self.folder, self.key, **options)

    def file_of(self, key: str) -> Path:
        """A file of the published bundle in the channel."""
        return self.folder / "files" / load_bundle(self.source).manifest.files[key].sha256


@dataclass
class Box:
    """bundle: its live one. settings: of the section `channel`. said: what the follower said."""

    bundle: Path
    settings: dict
    inspection: dict = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def look(self, **changes):
        """As `channel follow --once`, in a process that knows nothing of the last look."""
        settings = Settings.model_validate(
            {
                "inspection": {"bundle": str(self.bundle), **self.inspection},
                "record": {"directory": None},
                "channel": {**self.settings, **changes},
            }
        )
        return follow(settings, self.said.append, once=True)

    def refuses(self, *words: str, state: str = "refused", **changes):
        """Look, and expect a refusal with these words that leaves the live bundle as it is."""
        before = content(self.bundle)
        found = self.look(**changes)
        assert found.failure is not None, found.report
        assert content(self.bundle) == before
        assert found.report.state == state
        for word in words:
            assert word in str(found.failure), str(found.failure)
        assert found.failure.fix
        return found

    def takes(self, **changes):
        found = self.look(**changes)
        assert (found.failure, found.report.state) == (None, "live"), found
        return found.report


@pytest.fixture(scope="session")
def _keys(tmp_path_factory):
    private = tmp_path_factory.mktemp("keys") / "maker.pem"
    return private, make_keys(private)


@pytest.fixture
def channel(tmp_path, _keys):
    """Nothing is published yet. The source is a copy of the shipped sample bundle."""
    source = shutil.copytree(sample_bundle(), tmp_path / "source")
    return Channel(tmp_path / "channel", source, *_keys)


@pytest.fixture
def box(channel, tmp_path):
    """A box of the first ring with the shipped sample bundle; it follows the folder, without trials."""
    bundle = shutil.copytree(sample_bundle(), tmp_path / "live")
    settings = {
        "source": str(channel.folder), "signed_by": str(channel.public), "ring": 1, "trial_frames": 0, "box": "left",
    }  # fmt: skip
    return Box(bundle, settings)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def server(channel, authority):
    """Serves the channel's folder by HTTPS."""
    channel.folder.mkdir(exist_ok=True)
    with tls_server(channel.folder, authority.certificate("server")) as (server, address):
        server.address = address
        yield server


@pytest.fixture
def https_box(box, server, authority):
    """The same box, which follows the server and reports to it."""
    box.settings |= {"source": server.address, "ca_file": str(authority.file), "report": f"{server.address}/reports"}
    return box
