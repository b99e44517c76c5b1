"""Archives: every face of many pictures and videos, found once and kept in Parquet files that can be searched."""
