"""A real web server over TLS, with an authority of its own; it can cut off, forget ranges and send elsewhere."""

import re
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.now(timezone.utc)


class Authority:
    """Signs certificates for 127.0.0.1; `file` is its own."""

    def __init__(self, folder: Path, name: str = "plant") -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(name, self._key.public_key(), timedelta(days=-1), authority=True)
        self.file = folder / f"{name}-ca.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def certificate(self, name: str, begins: timedelta = timedelta(days=-1)) -> tuple[str, str]:
        """(certificate, key) as files; it is valid for two days from `begins`, as seen from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        files = self._folder / f"{name}.pem", self._folder / f"{name}-key.pem"
        files[0].write_bytes(self._signed(name, key.public_key(), begins).public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return str(files[0]), str(files[1])

    def _signed(self, name, public, begins, authority=False):
        subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, self._name))
        key_id = x509.SubjectKeyIdentifier.from_public_key
        made = (
            x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
            .not_valid_before(NOW + begins)
            .not_valid_after(NOW + begins + timedelta(days=2))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .add_extension(key_id(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        return made.sign(self._key, hashes.SHA256())


class Server(ThreadingHTTPServer):
    """Serves `folder`, and takes PUT. asked: (method, path, range) of each request. sent: bytes of bodies.

    cut_after: bytes of each file, after which the connection ends. drip_s: between two bytes of an answer; 0: it comes
    at once. ranges: whether they are understood. moved_to: where every request is sent instead.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: list[tuple[str, str, str | None]] = []
        self.sent = 0
        self.cut_after: int | None = None
        self.drip_s = 0.0
        self.ranges, self.moved_to = True, ""

    def handle_error(self, request, client_address):
        """A client that goes away is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append(("GET", self.path, wanted))
        file = self.server.folder / unquote(self.path).removeprefix("/")
        if self.server.moved_to:
            return self._answer(302, b"", Location=self.server.moved_to)
        if not file.is_file():
            return self._answer(404, b"")
        data, first = file.read_bytes(), 0
        if wanted and self.server.ranges:
            first = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            ranged = {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
            return self._answer(206, data[first:], **ranged)
        return self._answer(200, data)

    def do_PUT(self):
        self.server.asked.append(("PUT", self.path, None))
        file = self.server.folder / self.path.removeprefix("/")
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(201, b"")

    def _answer(self, status, data, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.server.cut_after is not None and "/files/" in self.path:
            data = data[: self.server.cut_after]
            self.close_connection = True
        for byte in data if self.server.drip_s else b"":
            self.wfile.write(bytes([byte]))
            time.sleep(self.server.drip_s)
        self.wfile.write(b"" if self.server.drip_s else data)
        self.server.sent += len(data)

    def log_message(self, *args):
        pass


@contextmanager
def tls_server(folder: Path, certificate: tuple[str, str], clients: Path | None = None):
    """A server of the folder, and its address. clients: the authority that boxes must be known by."""
    server = Server(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server, f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
