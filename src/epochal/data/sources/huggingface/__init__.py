"""Data sets of Hugging Face's `datasets`: folders that `save_to_disk` wrote, and objects."""
