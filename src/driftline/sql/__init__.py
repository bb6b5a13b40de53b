"""Profile rows where they lie, in DuckDB or PostgreSQL: only counts leave the database; see docs/sql.md."""

from driftline.sql.profiling import SqlProfiles, profile

__all__ = ["SqlProfiles", "profile"]
