"""Who made a bundle: an Ed25519 signature of manifest.json, which names every other file by its hash.

The signature lies beside the manifest, named after its hash: a bundle that is calibrated anew has none until
it is signed again, and one that is rolled back has its old one back.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bundles.bundle import ModelBundle, load_bundle, write_atomically
from edge.core.errors import BundleError, MissingDependency, UsageError, install_extra
from edge.core.files.safe_file import read_safe

_ALGORITHM = "ed25519"
_CONTEXT = b"edge-inspect bundle manifest "
MAXIMUM_SIGNATURE_BYTES = 4096
_SIGN = "sign it with `edge-inspect bundle sign --bundle BUNDLE --key PRIVATE_KEY`"


@dataclass(frozen=True)
class Signature:
    """A signature that fits the manifest. key_id: first 16 hex digits of the public key's hash, which names the key."""

    key_id: str


def make_keys(private: Path) -> Path:
    """Write a new key pair, PEM without passphrase: `private`, for this user alone, and beside it .pub, its path."""
    serialization, ed25519 = _cryptography()
    public = private.with_name(private.name + ".pub")
    key = ed25519.Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        # never over another key: what it signed could not be signed again
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
        public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}", fix="choose a new file for --key") from error
    return public


def sign(bundle: ModelBundle, private: Path) -> Signature:
    """Sign the manifest as it is now, after every file was checked."""
    bundle.verify()
    data = manifest_signature(bundle.sha256, private)
    write_atomically(bundle.path / signature_name(bundle.sha256), data)
    return Signature(private_key_id(private))


def manifest_signature(sha256: str, private: Path) -> bytes:
    """The file `signature_name`, for a manifest with this hash."""
    values = {"manifest_sha256": sha256, **signed_hash(sha256, private, _CONTEXT)}
    return json.dumps(values, indent=1).encode()


def signed_hash(sha256: str, private: Path, context: bytes) -> dict[str, str]:
    """algorithm, public_key and signature of a hash, for a file. context: what is signed, so that the signature of one
    kind of file is never that of another. Raises UsageError.
    """
    key = _private_key(private)
    return {
        "algorithm": _ALGORITHM,
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "signature": base64.b64encode(key.sign(context + sha256.encode())).decode(),
    }


def key_that_signed(values: Any, sha256: str, context: bytes) -> str | None:
    """The name of the key that made these values of `signed_hash`; None where they do not fit the hash.

    Raises ValueError, KeyError or TypeError for values that are not of this form.
    """
    public, signature = (base64.b64decode(values[name], validate=True) for name in ("public_key", "signature"))
    fits = values["algorithm"] == _ALGORITHM and _verifies(public, signature, context + sha256.encode())
    return _key_id(public) if fits else None


def signature_of(bundle: ModelBundle) -> Signature | None:
    """The signature of this very manifest, checked; None when there is none. Raises BundleError when it is wrong.

    The owner of the named key signed this manifest. `require_signature` decides whether that key is trusted.
    """
    if not is_signed(bundle):
        return None
    file = bundle.path / signature_name(bundle.sha256)
    try:
        values = json.loads(read_safe(bundle.path, file.name, MAXIMUM_SIGNATURE_BYTES))
        key = key_that_signed(values, bundle.sha256, _CONTEXT)
        fits = values["manifest_sha256"] == bundle.sha256
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{file}: not a signature ({error})", fix=_SIGN) from error
    if not fits or key is None:
        raise BundleError(f"{file}: the signature does not fit the manifest", fix=_SIGN)
    return Signature(key)


def is_signed(bundle: ModelBundle) -> bool:
    """Whether a signature of this manifest is there; it may still be wrong."""
    return (bundle.path / signature_name(bundle.sha256)).exists()


def require_signature(bundle: ModelBundle, public_key: Path) -> Signature:
    """The bundle's signature, by the key in this PEM file; raises BundleError when it has none, or another's."""
    trusted = key_id(public_key)
    signature = signature_of(bundle)
    if signature is None:
        raise BundleError(f"{bundle.path}: the bundle is not signed in its present version", fix=_SIGN)
    if signature.key_id != trusted:
        raise BundleError(
            f"{bundle.path}: signed by key {signature.key_id}, not by {trusted} of {public_key}",
            fix="take the bundle from where it was signed, or give the right public key",
        )
    return signature


def trusted_bundle(path: Path, signed_by: Path | None) -> ModelBundle:
    """A bundle to run; where the settings name a public key, only one that is signed by it."""
    bundle = load_bundle(path)
    if signed_by is not None:
        require_signature(bundle, signed_by)
    return bundle


def private_key_id(private: Path) -> str:
    """The name of the public key that belongs to a private one in a PEM file."""
    public: bytes = _private_key(private).public_key().public_bytes_raw()
    return _key_id(public)


def key_id(public_key: Path) -> str:
    """The name of a public key in a PEM file."""
    serialization, ed25519 = _cryptography()
    key = _load(public_key, serialization.load_pem_public_key)
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise UsageError(f"{public_key}: not an Ed25519 public key", fix="give the .pub file of `bundle keygen`")
    return _key_id(key.public_bytes_raw())


def signature_name(sha256: str) -> str:
    """The file that holds the signature of the manifest with this hash."""
    return f"manifest.{sha256[:16]}.signature"


def _private_key(private: Path) -> Any:
    serialization, ed25519 = _cryptography()
    key = _load(private, lambda data: serialization.load_pem_private_key(data, password=None))
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(f"{private}: not an Ed25519 private key", fix="make one with `edge-inspect bundle keygen`")
    return key


def _key_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:16]


def _verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    _, ed25519 = _cryptography()
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _load(file: Path, read: Any) -> Any:
    try:
        return read(file.read_bytes())
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", fix="check the path of the key") from error
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{file}: not a PEM key that can be read ({error})", fix="check the path of the key"
        ) from error


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingDependency(
            "signatures need the package cryptography, which is not installed", fix=install_extra("sign")
        ) from error
    return serialization, ed25519
