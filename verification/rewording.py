"""Does a view that the catalogs tell in two ways mean the same? The server that restored it is asked.

`canonical` knows the rewordings that were seen; this knows all. The source's text of the view is read by the restored
database itself, in a transaction that is rolled back: told by the same server, both are in the same words.
"""

from __future__ import annotations

import psycopg

from backup_lib import source
from backup_lib.traits import Traits, canonical

Connection = psycopg.Connection[tuple[object, ...]]
_VIEWS = ("view ", "materialized view ")


def reworded_views(connection: Connection, wanted: Traits, there: Traits) -> frozenset[str]:
    """Identities of the views whose definitions differ in words only.

    :param connection: to the restored database, in autocommit mode.
    :param wanted, there: what the source's and the restored catalog say.
    """
    source.pin(connection)
    return frozenset(
        identity
        for identity in wanted.keys() & there.keys()
        if identity.startswith(_VIEWS)
        and _means_the_same(connection, _definition(wanted, identity), _definition(there, identity))
    )


def _means_the_same(connection: Connection, wanted: str, there: str) -> bool:
    if canonical(wanted) == canonical(there):
        return False  # nothing to ask
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL session_replication_role = replica")  # no event trigger acts on this
            # Prepared: then it is one statement, whatever a manifest says.
            connection.execute(f"CREATE TEMPORARY VIEW pgdrill_asked AS {wanted}".encode(), prepare=True)
            row = connection.execute("SELECT pg_get_viewdef('pg_temp.pgdrill_asked'::regclass)").fetchone()
    except psycopg.Error as exc:
        if exc.sqlstate is None:
            raise
        return False  # a digest of a long text, or what it names is not there
    return row is not None and canonical(str(row[0])) == canonical(there)


def _definition(traits: Traits, identity: str) -> str:
    return traits[identity].get("definition", "")
