"""The rights of each kind of role, asked of a real server, as the table that docs/security.md shows."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

PAGE = Path(__file__).parents[2] / "docs/security.md"
TABLE = re.compile(r"(?<=<!-- rights -->\n).*?(?=<!-- /rights -->)", re.DOTALL)
KINDS = ("owner", "ingest", "worker", "control", "reader")
WORDS = {"SELECT": "read", "INSERT": "add", "UPDATE": "change", "DELETE": "delete"}
SELECT_TABLES = """
    SELECT n.nspname::text || '.' || c.relname, p.privilege, has_table_privilege(%(role)s, c.oid, p.privilege)
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    CROSS JOIN unnest(%(privileges)s::text[]) AS p (privilege)
    WHERE n.nspname IN ('public', 'timeseries') AND c.relkind IN ('r', 'v') AND c.relname <> 'cameras'
      AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1
"""
SELECT_CAMERAS = """
    SELECT 'public.cameras: ' || a.attname::text, p.privilege,
        has_column_privilege(%(role)s, a.attrelid, a.attnum, p.privilege)
    FROM pg_attribute AS a
    CROSS JOIN unnest(%(privileges)s::text[]) AS p (privilege)
    WHERE a.attrelid = 'public.cameras'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND p.privilege <> 'DELETE'
    UNION ALL
    SELECT 'public.cameras: a row', 'DELETE', has_table_privilege(%(role)s, 'public.cameras', 'DELETE')
"""
# Functions of the schema that PUBLIC may not execute, because the others do what the caller's rights allow.
SELECT_FUNCTIONS = """
    SELECT n.nspname::text || '.' || p.proname || '()', 'execute',
        bool_or(has_function_privilege(%(role)s, p.oid, 'EXECUTE'))
    FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('public', 'timeseries') AND NOT has_function_privilege('public', p.oid, 'EXECUTE')
      AND p.prorettype <> 'trigger'::regtype
      AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
    GROUP BY 1
    ORDER BY 1
"""
SELECT_DATABASE = """
    SELECT 'the database', p.word, has_database_privilege(%(role)s, current_database(), p.privilege)
    FROM (VALUES ('connect', 'CONNECT'), ('temporary tables', 'TEMPORARY'), ('schemas', 'CREATE'))
        AS p (word, privilege)
    UNION ALL
    SELECT 'the schema public', 'objects', has_schema_privilege(%(role)s, 'public', 'CREATE')
"""
QUERIES = (SELECT_DATABASE, SELECT_CAMERAS, SELECT_TABLES, SELECT_FUNCTIONS)
Rights = dict[str, list[str]]


def rights_of(connection: psycopg.Connection, role: str) -> Rights:
    """By object, what the role may do with it."""
    found: Rights = {}
    for query in QUERIES:
        rows = connection.execute(query, {"role": role, "privileges": list(WORDS)}).fetchall()
        for name, privilege, held in rows:
            words = found.setdefault(name, [])
            if held:
                words.append(WORDS.get(str(privilege), str(privilege)))
    order = list(WORDS.values())
    return {
        name: sorted(words, key=lambda word: order.index(word) if word in order else 0) for name, words in found.items()
    }


def table(connection: psycopg.Connection, roles: dict[str, str]) -> str:
    """Objects that a role besides the owner has a right on, in Markdown; the same on every kind of server."""
    rights = {kind: rights_of(connection, roles[kind]) for kind in KINDS}
    lines = ["| object | " + " | ".join(KINDS) + " |", "|---" * (len(KINDS) + 1) + "|"]
    for name in rights["owner"]:
        if any(rights[kind][name] for kind in KINDS[1:]) or name.startswith(("public.cameras", "the ")):
            lines.append(f"| {name} | " + " | ".join(", ".join(rights[kind][name]) or "–" for kind in KINDS) + " |")
    return "\n".join(lines) + "\n"
