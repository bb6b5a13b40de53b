"""The floor: read files with Polars, one after the other, and do nothing with them.

python read_floor.py COLUMN,COLUMN… FILE…, or ``-`` for all columns.
"""

import sys

import polars as pl

columns = None if sys.argv[1] == "-" else sys.argv[1].split(",")
for path in sys.argv[2:]:
    pl.read_parquet(path, columns=columns)
