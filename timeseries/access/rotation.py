"""Rotation of the key that encrypts connection strings, and a check that all of them can be decrypted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from timeseries.access.keyring import REMEDY, Keyring, key_id_of
from timeseries.database.connections import Pool, connected
from timeseries.errors import SecretError
from timeseries.progress import Progress, track

SELECT_CIPHERTEXTS = "SELECT id, connection_string FROM public.cameras WHERE connection_string IS NOT NULL ORDER BY id"
# Compare and swap: a connection string that was changed since it was read is newer, and stays.
SWAP_CIPHERTEXT = "UPDATE public.cameras SET connection_string = %s WHERE id = %s AND connection_string = %s"


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key: how many connection strings need it, whether it is known, and whether it is the one that encrypts."""

    key_id: str
    cameras: int
    known: bool
    encrypts: bool


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """Every key that is known or needed, and a reason for each connection string that cannot be decrypted."""

    keys: tuple[KeyUse, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RotationResult:
    """How many connection strings were encrypted again, how many somebody else changed meanwhile, and a reason for each
    that could not be decrypted and was left as it is.
    """

    rotated: int
    changed_meanwhile: int
    problems: tuple[str, ...]


class Keys:
    """The keys of a store, and the connection strings that they encrypted."""

    def __init__(self, pool: Pool, keyring: Keyring) -> None:
        self._pool = pool
        self._keyring = keyring

    def check(self) -> KeyCheck:
        """Decrypt every connection string, and return none. Raises ServerUnavailableError or NotMigratedError."""
        with connected(self._pool) as connection:
            rows = connection.execute(SELECT_CIPHERTEXTS).fetchall()
        problems = []
        for camera_id, ciphertext in rows:
            try:
                self._keyring.decrypt(ciphertext, camera_id)
            except SecretError as error:
                problems.append(str(error))
        uses = Counter(key_id_of(ciphertext) for _, ciphertext in rows)
        keys = [
            KeyUse(key_id, uses[key_id], key_id in self._keyring.key_ids, key_id in self._keyring.key_ids[:1])
            for key_id in dict.fromkeys([*self._keyring.key_ids, *uses])
        ]
        return KeyCheck(tuple(keys), tuple(problems))

    def rotate(self, *, progress: Progress = None) -> RotationResult:
        """Encrypt with the first key what older keys encrypted, each camera in a transaction of its own.

        It can be interrupted and run again, beside services that read: they need both keys until it is done. A
        connection string that cannot be decrypted is left as it is, with the reason; the others are rotated.

        Raises SecretError where there is no key, ServerUnavailableError or NotMigratedError.
        """
        if not self._keyring.key_ids:
            raise SecretError(f"there is no key to encrypt with: {REMEDY}")
        with connected(self._pool) as connection:
            rows = connection.execute(SELECT_CIPHERTEXTS).fetchall()
            connection.commit()
            old = [row for row in rows if key_id_of(row[1]) != self._keyring.key_ids[0]]
            problems, rotated = [], 0
            for camera_id, ciphertext in track(old, progress):
                try:
                    renewed = self._keyring.encrypt(self._keyring.decrypt(ciphertext, camera_id), camera_id)
                except SecretError as error:
                    problems.append(str(error))
                    continue
                with connection.transaction():
                    rotated += connection.execute(SWAP_CIPHERTEXT, [renewed, camera_id, ciphertext]).rowcount
        return RotationResult(rotated, len(old) - rotated - len(problems), tuple(problems))
