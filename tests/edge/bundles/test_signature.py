"""Who made a bundle: keys, signatures, and what ends them."""

import json
import stat

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed: nothing can be signed")

from edge.bundles.bundle import load_bundle
from edge.bundles.signature import key_id, make_keys, require_signature, sign, signature_of, trusted_bundle
from edge.bundles.versions import roll_back, write_bundle
from edge.core.errors import BundleError, UsageError


@pytest.fixture
def keys(tmp_path):
    private = tmp_path / "maker.pem"
    return private, make_keys(private)


def signature_file(bundle_path):
    (file,) = bundle_path.glob("manifest.*.signature")
    return file


def test_a_signed_bundle_names_its_key_and_the_private_one_is_for_its_owner_alone(bundle_path, keys):
    private, public = keys
    assert signature_of(load_bundle(bundle_path)) is None
    signed = sign(load_bundle(bundle_path), private)
    assert signed == signature_of(load_bundle(bundle_path)) == require_signature(load_bundle(bundle_path), public)
    assert signed.key_id == key_id(public)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_a_changed_bundle_is_not_signed_any_more_and_going_back_has_the_signature_back(bundle_path, keys):
    private, public = keys
    sign(load_bundle(bundle_path), private)
    changed = write_bundle(bundle_path, load_bundle(bundle_path).manifest, {"ranges": ("ranges.json", b"{}")})
    assert signature_of(changed) is None
    with pytest.raises(BundleError, match="not signed in its present version"):
        require_signature(changed, public)
    require_signature(roll_back(bundle_path), public)


def test_another_key_is_told_from_the_trusted_one(bundle_path, keys, tmp_path):
    stranger = tmp_path / "stranger.pem"
    make_keys(stranger)
    sign(load_bundle(bundle_path), stranger)
    with pytest.raises(BundleError, match="signed by key"):
        trusted_bundle(bundle_path, keys[1])
    assert trusted_bundle(bundle_path, None).sha256 == load_bundle(bundle_path).sha256


def test_a_signature_that_does_not_fit_is_refused(bundle_path, keys, subtests):
    # None: the entry is missing
    for change in [
        {"signature": "A" * 88},
        {"signature": "not base64"},
        {"signature": 5},
        {"signature": None},
        {"public_key": ""},
        {"manifest_sha256": "0" * 64},
        {"algorithm": "none"},
    ]:
        with subtests.test(change=change):
            sign(load_bundle(bundle_path), keys[0])
            file = signature_file(bundle_path)
            values = json.loads(file.read_text()) | change
            file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
            with pytest.raises(BundleError, match="signature"):
                signature_of(load_bundle(bundle_path))


def test_a_file_that_is_no_signature_is_refused(bundle_path, keys, subtests):
    for data in [b"", b"[]", b"[" * 4000, b"x" * 5000, b"\xff"]:
        with subtests.test(data=data[:5]):
            sign(load_bundle(bundle_path), keys[0])
            signature_file(bundle_path).write_bytes(data)
            with pytest.raises(BundleError):
                signature_of(load_bundle(bundle_path))


def test_a_damaged_bundle_is_not_signed(bundle_path, keys):
    (bundle_path / "ranges.json").write_bytes(b"altered")
    with pytest.raises(BundleError, match="damaged"):
        sign(load_bundle(bundle_path), keys[0])


def test_keys_are_not_overwritten_and_other_files_are_no_keys(bundle_path, keys, tmp_path):
    private, public = keys
    before = private.read_bytes()
    with pytest.raises(UsageError, match="File exists"):
        make_keys(private)
    assert private.read_bytes() == before
    for wrong in (public, tmp_path / "nowhere.pem"):
        with pytest.raises(UsageError):
            sign(load_bundle(bundle_path), wrong)
    with pytest.raises(UsageError):
        key_id(private)
