"""Encryption of connection strings: AES-256-GCM, bound to the camera's id.

A ciphertext reads `v1.<key id>.<nonce and ciphertext, base64url>`. The camera's id is authenticated with it, so a
ciphertext that was moved to another camera cannot be decrypted. Of several keys the first one encrypts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from typing import TYPE_CHECKING
from uuid import UUID

from timeseries.errors import ConfigurationError, SecretError
from timeseries.settings import KEY_VARIABLE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
CIPHERTEXT = re.compile(r"v1\.[0-9a-f]{8}\.[A-Za-z0-9_=-]+")
REMEDY = f"set {KEY_VARIABLE} to a key made by: timeseries key generate"


def generate_key() -> str:
    """A new key, 32 random bytes in base64url."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


def key_id_of(ciphertext: str) -> str:
    """Which key a ciphertext needs."""
    return ciphertext.partition(".")[2].partition(".")[0]


def _cipher(secret: bytes) -> AESGCM:
    """The cipher of a key. The library is imported here, because an edge device has no key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(secret)


class Keyring:
    """The keys of `TIMESERIES_SECRET_KEY`, separated by commas; the repr shows none of them."""

    def __init__(self, keys: str) -> None:
        """Raises ConfigurationError where a key is not 32 bytes in base64url."""
        self._ciphers: dict[str, AESGCM] = {}
        for position, key in enumerate(filter(None, (part.strip() for part in keys.split(","))), 1):
            try:
                secret = base64.b64decode(key.encode(), altchars=b"-_", validate=True)
            except (binascii.Error, ValueError):
                secret = b""
            if len(secret) != KEY_BYTES:
                raise ConfigurationError(
                    f"key {position} of {KEY_VARIABLE} is not {KEY_BYTES} bytes in base64; {REMEDY}"
                )
            self._ciphers[hashlib.sha256(secret).hexdigest()[:8]] = _cipher(secret)

    def __repr__(self) -> str:
        return f"Keyring({len(self._ciphers)} keys)"

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys, eight hexadecimal digits of a hash each; the first one encrypts."""
        return tuple(self._ciphers)

    def encrypt(self, plaintext: str, camera_id: UUID) -> str:
        """Ciphertext for this camera, by the first key. Raises SecretError where there is no key."""
        if not self._ciphers:
            raise SecretError(f"a connection string is only stored encrypted, and there is no key: {REMEDY}")
        key_id, cipher = next(iter(self._ciphers.items()))
        nonce = os.urandom(NONCE_BYTES)
        encrypted = nonce + cipher.encrypt(nonce, plaintext.encode(), camera_id.bytes)
        return f"v1.{key_id}.{base64.urlsafe_b64encode(encrypted).decode()}"

    def decrypt_if_encrypted(self, text: str, camera_id: UUID) -> str:
        """The plaintext of a text that may be ciphertext. Raises SecretError where it is and cannot be decrypted."""
        return self.decrypt(text, camera_id) if CIPHERTEXT.fullmatch(text) else text

    def decrypt(self, ciphertext: str, camera_id: UUID) -> str:
        """Raises SecretError where the key is missing or the ciphertext is not this camera's."""
        from cryptography.exceptions import InvalidTag

        key_id = key_id_of(ciphertext)
        if key_id not in self._ciphers:
            raise SecretError(
                f"the connection string of camera {camera_id} needs key {key_id}; {REMEDY}, or add that key"
            )
        try:
            encrypted = base64.b64decode(ciphertext.rpartition(".")[2], altchars=b"-_", validate=True)
            opened = self._ciphers[key_id].decrypt(encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:], camera_id.bytes)
        except (InvalidTag, ValueError):
            raise SecretError(
                f"the connection string of camera {camera_id} does not open with key {key_id}:"
                " it was changed, or belongs to another camera"
            ) from None
        return opened.decode()
