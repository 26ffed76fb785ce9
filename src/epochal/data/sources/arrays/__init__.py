"""Number arrays: in memory, and in files of NumPy, IDX, and the tutorials' pickle."""
