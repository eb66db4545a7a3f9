"""bundle show, verify, sign, keygen: what a bundle is, whether it is whole, and who made it."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.standard_streams import printable
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.progress import say


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=("show", "verify", "sign", "keygen"),
        help="what it is; whether every file is whole, and who signed; sign it; make a pair of keys",
    )
    parser.add_argument("--bundle", type=Path, help="model bundle directory")
    parser.add_argument("--key", type=Path, help="private key: sign with it, or the file keygen makes (and .pub)")
    parser.add_argument("--version", help="sign: first digits of a version that is not live (default: the live one)")
    parser.add_argument("--public-key", type=Path, help="verify: only a signature by this key will do")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    needed = {"show": "bundle", "verify": "bundle", "sign": "bundle", "keygen": "key"}[options.action]
    if getattr(options, needed) is None or (options.action == "sign" and options.key is None):
        wanted = "--bundle BUNDLE --key PRIVATE_KEY" if options.action == "sign" else f"--{needed} {needed.upper()}"
        raise UsageError(f"`bundle {options.action}` lacks an option", fix=f"give {wanted}")
    {"show": _show, "verify": _verify, "sign": _sign, "keygen": _keygen}[options.action](options)
    return 0


def _show(options: argparse.Namespace) -> None:
    from edge.bundles.bundle import load_bundle
    from edge.bundles.description import described

    for name, value in described(load_bundle(options.bundle)):
        print(f"{name:<20}{printable(value)}")


def _verify(options: argparse.Namespace) -> None:
    from edge.bundles.bundle import load_bundle
    from edge.bundles.signature import require_signature, signature_of

    opened = load_bundle(options.bundle)
    opened.verify()
    whole = f"{options.bundle}: {len(opened.manifest.files)} files as the manifest says"
    if options.public_key is not None:
        print(f"{whole}, signed by key {require_signature(opened, options.public_key).key_id}, which you trust")
    elif (signature := signature_of(opened)) is not None:
        print(f"{whole}, signed by key {signature.key_id}; --public-key says whether that is the key you trust")
    else:
        print(f"{whole}, not signed")


def _sign(options: argparse.Namespace) -> None:
    from edge.bundles.bundle import load_bundle
    from edge.bundles.signature import sign
    from edge.bundles.versions import SHORT, find_version

    version = options.version
    signed = load_bundle(options.bundle) if version is None else find_version(options.bundle, version)
    signature = sign(signed, options.key)
    name = f"{options.bundle}, version {signed.sha256[:SHORT]}"
    say(f"{name}: signed by key {signature.key_id}; calibrating again or editing it ends that")


def _keygen(options: argparse.Namespace) -> None:
    from edge.bundles.signature import key_id, make_keys

    public = make_keys(options.key)
    say(f"{options.key}: the private key, keep it off the line. {public}: the public one, key {key_id(public)}")
