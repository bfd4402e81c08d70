"""What analysts do with psycopg 3, against the server named by PGHOST and friends; exits with an error if any fails."""

import datetime as dt
import decimal
import threading
import time

import psycopg
from psycopg import errors, sql
from psycopg.rows import dict_row


def check(found, expected, what):
    assert found == expected, f"{what}: {found!r} is not {expected!r}"


VALUES = [
    None,
    True,
    7,
    -70_000,
    5_000_000_000,
    0.5,
    decimal.Decimal("12345.6780"),
    decimal.Decimal("-0.05"),
    "æøå 'quoted' {x}",
    dt.date(2010, 2, 28),
    dt.date(9999, 12, 31),
    dt.datetime(2010, 7, 1, 0, 20, 0, 123456),
    dt.datetime(2010, 7, 1, 0, 20, tzinfo=dt.timezone.utc),
    dt.time(23, 59, 59),
    b"\x00\xff",
    [1, 2, 3],
    ["a,b", "NULL", ""],
]


def values(connection, binary):
    for value in VALUES:
        # An array of text travels untyped in text form, here as in PostgreSQL.
        expected = '{"a,b","NULL",""}' if value == VALUES[-1] and not binary else value
        form = sql.SQL("SELECT %b AS v" if binary else "SELECT %t AS v")
        found = connection.execute(form, [value], binary=binary).fetchone()[0]
        check(found, expected, f"echo, binary={binary}")


def tables(connection, binary):
    query = """
        SELECT offer_name, in_offer, effect_3m, price_per_week_dkk, suppressed, data_through, built_at, calendar
        FROM mart.offer_overview WHERE municipality_code = %s AND data_through >= %s ORDER BY period
    """
    rows = connection.execute(query, [101, dt.date(2010, 6, 30)], binary=binary).fetchall()
    built = dt.datetime(2010, 6, 30, 23, tzinfo=dt.timezone.utc)
    check(rows[0][:7], ("Jobsøgning på Ærø", 40, 0.25, decimal.Decimal("1234.50"), False, dt.date(2010, 6, 30), built), "row")
    check(rows[0][7], [dt.date(2010, 1, 1), dt.date(9999, 12, 31)], "calendar")
    check(rows[1][3], decimal.Decimal("-0.05"), "small number")
    text_date = connection.execute("SELECT count(*) FROM mart.offer_overview WHERE data_through < %s", ["2010-12-31"])
    check(text_date.fetchone()[0], 1, "a date given as text")
    listed = connection.execute("SELECT count(*) FROM ref.benefit WHERE code = ANY(%s)", [["112", "x"]]).fetchone()[0]
    check(listed, 1, "any of a list")
    nothing = connection.execute("SELECT count(*) FROM mart.offer_overview WHERE offer_name = %s", [None]).fetchone()[0]
    check(nothing, 0, "compared with null")
    total = connection.execute("SELECT sum(price_per_week_dkk), avg(price_per_week_dkk) FROM mart.offer_overview", binary=binary)
    check(total.fetchone()[0], decimal.Decimal("1234.45"), "sum")


def prepared(connection):
    for n in range(8):
        found = connection.execute("SELECT %s::int + 1 AS n", [n], prepare=True, binary=n % 2 == 0).fetchone()[0]
        check(found, n + 1, "prepared")
    connection.prepared_max = 1
    for n in range(4):
        check(connection.execute(f"SELECT {n} + %s::int", [1], prepare=True).fetchone()[0], n + 1, "evicted")
    connection.execute("DEALLOCATE ALL")


def transactions(connection):
    try:
        with connection.transaction():
            connection.execute("SELECT nothing")
    except errors.UndefinedColumn:
        pass
    with connection.transaction():
        connection.execute("SELECT 1")
        try:
            with connection.transaction():
                connection.execute("SELECT * FROM nothing")
        except errors.UndefinedTable:
            pass
        check(connection.execute("SELECT 2").fetchone()[0], 2, "after a savepoint")
    try:
        connection.execute("CREATE TABLE x (a int)")
    except errors.ReadOnlySqlTransaction:
        connection.rollback()
    else:
        raise AssertionError("a table was created")


def cursors(connection):
    with connection.transaction(), connection.cursor(name="steps", row_factory=dict_row) as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT value AS n FROM generate_series(1, 1000)")
        check(sum(row["n"] for row in cursor), 500_500, "server-side cursor")
    with connection.cursor() as cursor:
        streamed = sum(row[0] for row in cursor.stream("SELECT value FROM generate_series(1, 1000)"))
        check(streamed, 500_500, "streamed")
        with cursor.copy("COPY (SELECT code, counts_as_support FROM ref.benefit ORDER BY 1) TO STDOUT") as copy:
            copy.set_types(["text", "bool"])
            check(list(copy.rows()), [("112", True), ("113", False)], "copied")
        with cursor.copy("COPY (SELECT 1::int, 'x') TO STDOUT (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text"])
            check(list(copy.rows()), [(1, "x")], "copied in binary")


def pipelines(connection):
    with connection.pipeline() as pipeline:
        found = [connection.execute("SELECT %s::int", [n]) for n in range(10)]
        pipeline.sync()
        check([cursor.fetchone()[0] for cursor in found], list(range(10)), "pipelined")
    connection.rollback()
    try:
        with connection.pipeline():
            connection.execute("SELECT 1")
            connection.execute("SELECT nothing")
            connection.execute("SELECT 3")
    except errors.UndefinedColumn:
        pass
    else:
        raise AssertionError("an error in a pipeline was lost")
    connection.rollback()
    check(connection.execute("SELECT 4").fetchone()[0], 4, "after a failed pipeline")
    connection.rollback()


def cancelling(connection):
    threading.Timer(0.5, connection.cancel).start()
    started = time.monotonic()
    try:
        connection.execute("SELECT count(*) FROM raw.endless")
    except errors.QueryCanceled:
        connection.rollback()
    else:
        raise AssertionError("an endless query ended")
    assert time.monotonic() - started < 20, "cancelled late"


def logins():
    try:
        psycopg.connect(password="wrong")
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error), error
    else:
        raise AssertionError("a wrong password opened a session")


def main():
    logins()
    with psycopg.connect() as connection:
        check(connection.info.parameter_status("server_version"), "16.6", "server_version")
        check(connection.info.server_version, 160006, "server version number")
        for binary in (False, True):
            values(connection, binary)
            tables(connection, binary)
        prepared(connection)
        connection.commit()
        transactions(connection)
        connection.commit()
        cursors(connection)
        connection.commit()
        pipelines(connection)
        cancelling(connection)
    print("psycopg: all well")


main()
