"""Tables: CSV and its kin, Parquet, Arrow, data frames."""
