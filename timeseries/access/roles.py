"""Database roles by kind (owner, ingest, worker, control, reader): granting them, and finding what deviates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import LiteralString

from psycopg import sql

from timeseries.database.connections import Connection, connect, translated_errors
from timeseries.database.rows import row, value
from timeseries.errors import InvalidInputError

SQL = (Path(__file__).parent / "roles.sql").read_text()
BLOCKS: dict[str, LiteralString] = dict(
    re.findall(r"^-- block: (\w+)\n(.*?)(?=^-- block: |\Z)", SQL, re.MULTILINE | re.DOTALL)
)
# The blocks of each kind; a worker is an ingest role that sees cameras.
KINDS = {
    "ingest": ("ingest",),
    "worker": ("ingest", "worker"),
    "control": ("answers", "control"),
    "reader": ("answers", "reader"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one reader may take: the time of a statement, and connections at once."""

    statement: timedelta = timedelta(seconds=30)
    connections: int = 20


def grant(
    url: str,
    *,
    owner: str | None = None,
    ingest: Sequence[str] = (),
    readers: Sequence[str] = (),
    workers: Sequence[str] = (),
    control: Sequence[str] = (),
    passwords: Sequence[str] = (),
    limits: Limits = Limits(),
) -> None:
    """Give roles exactly the rights of their kind, in one transaction; it can be repeated.

    `owner` migrates, prunes and sets policies without being a superuser; it may be named before the first migration.
    An `ingest` role stores events. A `reader` asks for averages and sees no raw row and no connection string. A worker
    is an ingest role that also reads the cameras, their connection strings as ciphertext. A `control` role adds,
    changes and removes cameras, and asks what a reader asks; it writes connection strings and does not read them.
    Privileges of PUBLIC that nothing needs (background jobs, temporary tables) are revoked.

    With `passwords`, one a role in the order owner, ingest, readers, workers, control, roles that are missing are
    created, and each gets its password; the server is sent only what SCRAM derives from it.

    Raises:
        InvalidInputError: no role, one with two kinds, an unknown one, a superuser, or too few passwords.
        NotAllowedError: who is connected may not give these rights.
        NotMigratedError: the schema is not there; ServerUnavailableError: the server is not.
    """
    names = [*([owner] if owner else []), *ingest, *readers, *workers, *control]
    if not names or len(set(names)) < len(names):
        raise InvalidInputError(f"roles {', '.join(names) or '(none)'}: name at least one, and each with one kind only")
    if passwords and (len(passwords) != len(names) or not all(passwords)):
        raise InvalidInputError(f"there are {len(passwords)} passwords for {len(names)} roles; give one a role")
    with translated_errors(), connect(url) as connection:
        for name, password in zip(names, passwords, strict=False):
            set_password(connection, name, password)
        for name in names:
            check_role(connection, name)
        database = sql.Identifier(connection.info.dbname)
        migrated = value(connection, "SELECT to_regclass('public.cameras') IS NOT NULL")
        if owner:
            run_block(connection, "owner", role=sql.Identifier(owner), database=database)
            if migrated:
                connection.execute("SELECT set_config('timeseries.owner', %s, true)", [owner])
                run_block(connection, "belongings")
        if migrated or names != [owner]:
            run_block(connection, "closed", database=database)
        for kind, roles in (("ingest", ingest), ("reader", readers), ("worker", workers), ("control", control)):
            for name in roles:
                give(connection, name, kind, limits)


def give(connection: Connection, name: str, kind: str, limits: Limits) -> None:
    """Exactly the rights of the kind: all that the role had is taken away first."""
    for block in ("nothing", *KINDS[kind]):
        run_block(
            connection, block, role=sql.Identifier(name), database=sql.Identifier(connection.info.dbname),
            connections=sql.Literal(limits.connections),
            statement_timeout=sql.Literal(f"{limits.statement // timedelta(milliseconds=1)}ms"),
        )  # fmt: skip


def find_deviations(connection: Connection) -> list[str]:
    """Deviations of the privileges in a migrated database, a sentence each with the remedy; empty when all is well.

    Every role that was granted is checked, and PUBLIC. Any role may call it.
    """
    return [row[0] for row in connection.execute(BLOCKS["deviations"]).fetchall()]


def run_block(connection: Connection, block: str, **names: sql.Composable) -> None:
    connection.execute(sql.SQL(BLOCKS[block]).format(**names) if names else BLOCKS[block])


def check_role(connection: Connection, name: str) -> None:
    """Refuse a role that does not exist, and a superuser, because no privilege restricts one."""
    superuser = value(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = %s", [name])
    if superuser is None:
        raise InvalidInputError(
            f"no role has the name {name!r}; create it (CREATE ROLE … LOGIN), or give its password on standard input"
            " with --password-stdin and it is created"
        )
    if superuser:
        raise InvalidInputError(f"the role {name!r} is a superuser, which no privilege restricts; name another")


def set_password(connection: Connection, name: str, password: str) -> None:
    """Create the role if it is missing, and set its password, as a verifier, because the server may log statements."""
    role = sql.Identifier(name)
    if row(connection, "SELECT FROM pg_roles WHERE rolname = %s", [name]) is None:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(verifier)))
