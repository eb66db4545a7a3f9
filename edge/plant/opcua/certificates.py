"""The folder of the server's certificates: its own, those of the clients it trusts, those it has turned away.

FOLDER/own.pem, own.key   this box's certificate and private key; made at the first start unless they are there
FOLDER/trusted/           certificates of clients, one a file, PEM or DER; whoever is not here is turned away
FOLDER/rejected/          those that were turned away, to be looked at and moved to `trusted`
FOLDER/users.json         users and what their passwords hash to
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import socket
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.core.errors import ConfigError
from edge.core.files.atomic_file import sync_directory, write_atomic
from edge.core.files.hashed_password import Hashed, hashed
from edge.core.files.private_files import make_folder
from edge.core.files.safe_file import read_safe

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

log = logging.getLogger("edge.plant.opcua")

_OWN, _KEY, _USERS = "own.pem", "own.key", "users.json"
_TRUSTED, _REJECTED = "trusted", "rejected"
_USERS_VERSION = 1
_KEY_BITS, _VALID_DAYS = 2048, 3650
_LARGEST_BYTES, _LARGEST_USERS_BYTES = 65536, 1_000_000
# whoever reaches the port can fill this folder
MOST_REJECTED = 20
_PASSWORD_BYTES = 18


class Certificates:
    """The folder. Raises ConfigError where it, or the own certificate, cannot be used."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self._address = folder, address
        try:
            for each in (folder, folder / _TRUSTED, folder / _REJECTED):
                make_folder(each)
            if not (folder / _OWN).exists() and not (folder / _KEY).exists():
                self._make_own()
            self.own = _certificate((folder / _OWN).read_bytes())
            self.key = (folder / _KEY).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{folder}: {error.strerror} ({error.filename})",
                fix=f"make opcua.folder writable for this user; {_OWN} and {_KEY} belong together, or both are made",
            ) from error
        if self.own is None:
            fix = f"replace it, or remove both {_OWN} and {_KEY}: new ones are made"
            raise ConfigError(f"{folder / _OWN}: no certificate in PEM or DER", fix=fix)
        if (folder / _KEY).stat().st_mode & 0o077:
            raise ConfigError(f"{folder / _KEY}: others can read the private key", fix=f"chmod 600 {folder / _KEY}")
        _check_pair(self.own, self.key, folder)

    @property
    def own_pem(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding

        assert self.own is not None
        return bytes(self.own.public_bytes(Encoding.PEM))

    @property
    def application_uri(self) -> str:
        """As the own certificate has it, since clients compare the two."""
        from cryptography import x509

        assert self.own is not None
        try:
            names = self.own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        except (x509.ExtensionNotFound, ValueError):
            uris = []
        if not uris:
            raise ConfigError(
                f"{self.folder / _OWN} names no application: clients of OPC UA turn it away",
                fix="add `URI:urn:HOST:edge-inspect` to its subjectAltName, or remove both files: new ones are made",
            )
        return str(uris[0])

    def trusted_name(self, der: bytes | None) -> str | None:
        """The name of the file in `trusted` that holds this certificate, without its end; None where none does.

        Looked up anew each time: who is added or removed needs no restart.
        """
        if not der:
            return None
        try:
            files = sorted((self.folder / _TRUSTED).iterdir())
        except OSError as error:
            log.warning("%s cannot be read, and nobody is let in: %s", self.folder / _TRUSTED, error.strerror)
            return None
        for file in files:
            try:
                certificate = _certificate(read_safe(file.parent, file.name, _LARGEST_BYTES))
            except OSError as error:
                log.warning("%s cannot be read, and lets nobody in: %s", file, error.strerror)
                continue
            if certificate is not None and _der(certificate) == der:
                return file.stem
        return None

    def reject(self, der: bytes) -> Path | None:
        """Keep a certificate that is not trusted; None where it is kept already, is none, or there are too many."""
        from cryptography.hazmat.primitives import hashes

        certificate = _certificate(der)
        if certificate is None:
            return None
        names = certificate.subject.get_attributes_for_oid(_common_name())
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", str(names[0].value))[:40].strip("-") if names else ""
        fingerprint = certificate.fingerprint(hashes.SHA256()).hex()[:16]
        file = self.folder / _REJECTED / f"{name or 'client'}-{fingerprint}.der"
        try:
            if file.exists() or sum(1 for _ in file.parent.iterdir()) >= MOST_REJECTED:
                return None
            write_atomic(file, _der(certificate), 0o640, sync=False)
        except OSError as error:
            log.warning("%s cannot be written: %s", file, error.strerror)
            return None
        return file

    @property
    def anybody_trusted(self) -> bool:
        return any((self.folder / _TRUSTED).iterdir())

    def user_may_enter(self, user: str, password: str) -> bool:
        """Whether this is the user's password."""
        kept = read_users(self.folder).get(user)
        return kept is not None and kept.is_of(password)

    def _make_own(self) -> None:
        """A key and a certificate that it signs itself, as OPC 10000-6 has them for an application."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        host = socket.gethostname()
        key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
        name = x509.Name([x509.NameAttribute(_common_name(), f"edge-inspect on {host}"[:64])])
        places = [x509.UniformResourceIdentifier(f"urn:{host}:edge-inspect"), _place(host)]
        if self._address != host:
            places.append(_place(self._address))
        # a client whose clock is a little behind would turn it away
        start = datetime.now(timezone.utc) - timedelta(days=1)
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True,
            key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=_VALID_DAYS))
            .add_extension(x509.SubjectAlternativeName(places), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
            .add_extension(usage, critical=False)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_atomic(self.folder / _KEY, private, 0o600)
        write_atomic(self.folder / _OWN, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        sync_directory(self.folder)
        log.warning("%s: a certificate was made for this server; clients are to trust it", self.folder / _OWN)


def new_user(folder: Path, user: str) -> str:
    """Make a password for the user, in place of an earlier one, and keep what it hashes to. Raises ConfigError."""
    users = read_users(folder) if (folder / _USERS).exists() else {}
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    kept = {name: each.as_json() for name, each in {**users, user: hashed(password)}.items()}
    try:
        make_folder(folder)
        write_atomic(
            folder / _USERS, json.dumps({"version": _USERS_VERSION, "users": kept}, indent=1).encode() + b"\n", 0o600
        )
        sync_directory(folder)
    except OSError as error:
        raise ConfigError(f"{folder / _USERS}: {error.strerror}", fix="make opcua.folder writable") from error
    return password


def read_users(folder: Path) -> dict[str, Hashed]:
    """What `new_user` wrote; nobody where it never was called. Raises ConfigError for a damaged or an open file."""
    file = folder / _USERS
    fix = f"move {file} away; `edge-inspect publish --opcua-user NAME` writes a new one"
    try:
        mode = file.stat().st_mode
        values = json.loads(read_safe(folder, _USERS, _LARGEST_USERS_BYTES))
        if values["version"] != _USERS_VERSION:
            raise ValueError(f"version {values['version']!r}")
        users = {str(name): Hashed.from_json(kept) for name, kept in values["users"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", fix=fix) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{file}: no file of users ({error})", fix=fix) from error
    if mode & 0o077:
        raise ConfigError(f"{file}: others can read it (mode {mode & 0o777:04o})", fix=f"chmod 600 {file}")
    return users


def _certificate(data: bytes) -> Certificate | None:
    from cryptography import x509

    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError:
        return None


def _der(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(certificate.public_bytes(Encoding.DER))


def _check_pair(own: Certificate, key: bytes, folder: Path) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        same = load_pem_private_key(key, None).public_key() == own.public_key()
        why = f"is not the key of {_OWN}"
    # a key with a password, among others
    except (ValueError, TypeError) as error:
        same, why = False, f"cannot be read: {error}"
    if not same:
        raise ConfigError(
            f"{folder / _KEY} {why}", fix="give an RSA key of 2048 bits or more, in PEM, without password"
        )
    end = own.not_valid_after_utc
    if end < datetime.now(timezone.utc):
        log.warning("%s: expired on %s; clients may turn it away", folder / _OWN, end.date())


def _common_name() -> Any:
    from cryptography.x509.oid import NameOID

    return NameOID.COMMON_NAME


def _place(host: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
