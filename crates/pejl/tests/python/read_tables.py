"""Counts participations and their citizens in the landed table, once per reader."""

import sys

import duckdb
from deltalake import DeltaTable

table = f"{sys.argv[1]}/raw/participation"
rows = DeltaTable(table).to_pyarrow_table()
print(f"deltalake,{rows.num_rows},{len(set(rows['citizen_id'].to_pylist()))}")

# DuckDB reads the files that the table's current version names; its own delta extension is a download.
files = DeltaTable(table).file_uris()
counts = duckdb.execute(
    "select count(*), count(distinct citizen_id) from read_parquet($files)", {"files": files}
).fetchone()
print(f"duckdb,{counts[0]},{counts[1]}")
