"""The deployment's secret and what is derived from it, and the cipher that keeps content at rest.

One secret of 32 bytes: from `CYLESTIO_STORE_KEY`, from the system's keyring, or made once and kept in a private file
beside the database. Every use has its own key, derived with HMAC-SHA256 over a label, so that one that leaks says
nothing of the others.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.sqlite import files

if TYPE_CHECKING:
    from pathlib import Path

KEY_VARIABLE: Final = "CYLESTIO_STORE_KEY"
KEYRING: Final = "keyring"
"""The value of the variable that takes the secret from the system's keyring."""

_SERVICE = "cylestio-monitor"
_ACCOUNT = "store"
_SHORTEST = 16
_NONCE = 12

MATCHES: Final = "match"
"""The label of the key of the hashes of matches."""


def key_file(database: Path) -> Path:
    """Returns the path of the file that holds the secret if neither environment nor keyring has one."""
    return database.with_name(f"{database.name}.key")


class KeyLostError(StoreError):
    """The file that held the secret of an existing store is gone."""

    def __init__(self, path: Path) -> None:
        """Takes the path of the missing file."""
        super().__init__(f"key lost: {path} is missing, and {KEY_VARIABLE} is not set")


def load(database: Path) -> tuple[bytes, bool]:
    """Loads the secret of an existing store; creates none.

    Returns:
        The 32 bytes, and whether the user provided them. Content is encrypted at rest only then, because a key
        beside the database would protect nothing.

    Raises:
        KeyLostError: There is a store, and its key is missing.
        StoreError: There is no store, the variable is too short, the keyring has no secret or is not installed, or the
            key file cannot be read. The secret itself is never in the message.
    """
    given = _given()
    if given is not None:
        return given, True
    path = key_file(database)
    found = _from_file(path)
    if found is None and not database.exists():
        raise StoreError(f"{database}: there is no store yet")
    if found is None:
        raise KeyLostError(path)
    return found, False


def load_or_create(database: Path) -> tuple[bytes, bool]:
    """Loads the secret as `load` does; a missing key file is created.

    Raises:
        StoreError: As for `load`, or the key file cannot be created.
    """
    given = _given()
    if given is not None:
        return given, True
    path = key_file(database)
    found = _from_file(path)
    if found is None:
        try:
            files.create_once(path, secrets.token_hex(32).encode() + b"\n")
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror or 'cannot be made'}") from error
        found = _from_file(path)  # that of another process, where one was faster
    if found is None:
        raise StoreError(f"{path}: cannot be made")
    return found, False


def _given() -> bytes | None:
    given = os.environ.get(KEY_VARIABLE, "")
    if given == KEYRING:
        given = _from_keyring()
    if not given:
        return None
    if len(given) < _SHORTEST:
        raise StoreError(f"{KEY_VARIABLE}: must be at least {_SHORTEST} characters long")
    return hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()


def derive(secret: bytes, label: str) -> bytes:
    """A key of its own for one use, 32 bytes."""
    return hmac.digest(secret, b"cylestio-monitor\x00" + label.encode(), "sha256")


def match_key(path: Path) -> bytes:
    """The key of the hashes of matches in a store, 32 bytes.

    Args:
        path: The database.

    Raises:
        StoreError: As for `load`.
    """
    return derive(load(path)[0], MATCHES)


class Cipher:
    """AES-256-GCM over content at rest; each text has its own random nonce in front."""

    def __init__(self, secret: bytes) -> None:
        """Derives the content key.

        Args:
            secret: The deployment's secret.

        Raises:
            StoreError: The package `cryptography` is not installed.
        """
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 -- only where switched on
        except ImportError as error:
            raise StoreError(f"{KEY_VARIABLE} needs the package cryptography: {INSTALL}") from error
        self._aead: Any = AESGCM(derive(secret, "content"))

    def seal(self, plain: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = os.urandom(_NONCE)
        return nonce + bytes(self._aead.encrypt(nonce, plain, None))

    def open(self, sealed: bytes) -> bytes:
        """The plain bytes.

        Raises:
            StoreError: Another key sealed them, or they were changed.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 -- only where something is decrypted

        try:
            return bytes(self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], None))
        except (InvalidTag, ValueError) as error:
            raise StoreError("content was sealed with another key, or changed") from error


def cipher_of(path: Path | None) -> Cipher | None:
    """Returns what opens the content of a store; `None` where the environment names no key.

    Raises:
        StoreError: As for `load`, and as for `Cipher`.
    """
    if path is None or not os.environ.get(KEY_VARIABLE):
        return None
    return Cipher(load(path)[0])


INSTALL: Final = "pip install 'cylestio-monitor[audit]'"


def _from_keyring() -> str:
    try:
        import keyring  # noqa: PLC0415 -- only where asked for
    except ImportError as error:
        raise StoreError(f"{KEY_VARIABLE}={KEYRING} needs the package keyring: pip install keyring") from error
    try:
        secret = keyring.get_password(_SERVICE, _ACCOUNT)
    except Exception as error:  # a backend raises errors of its own types; the caller handles only StoreError
        raise StoreError(f"the system's keyring cannot be read ({type(error).__name__})") from error
    if not secret:
        raise StoreError(f"the system's keyring holds no secret for service {_SERVICE}, account {_ACCOUNT}")
    return str(secret)


def _from_file(path: Path) -> bytes | None:
    """Returns the secret of a key file; `None` where there is no such file."""
    try:
        text = files.read_private(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or 'cannot be read'}") from error
    try:
        secret = bytes.fromhex(text.decode("ascii").strip())
    except ValueError as error:
        raise StoreError(f"{path}: is no key file") from error
    if len(secret) != 32:
        raise StoreError(f"{path}: is no key file")
    return secret
