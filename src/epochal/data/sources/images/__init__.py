"""Folders of encoded images."""
