"""Builds the site: `make docs`. A public name without a docstring, or that api.md leaves out, ends the build."""

import re
from pathlib import Path

import epochal

project, author = "epochal", "The epochal maintainers"
release = epochal.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
nitpicky = False


def check_reference() -> None:
    """Every public name is in api.md, and has a docstring."""
    listed = re.findall(
        r"^\.\. auto\w+:: epochal\.(\w+)$", (Path(__file__).parent / "api.md").read_text(), re.MULTILINE
    )
    absent = [name for name in epochal.__all__ if name not in listed]
    bare = [name for name in epochal.__all__ if not (getattr(epochal, name).__doc__ or "").strip()]
    if absent or bare:
        raise ValueError(f"api.md leaves out {absent}; without a docstring are {bare}")


check_reference()


def as_restructured_text(app, what, name, obj, options, lines) -> None:
    """Docstrings use single backticks for code, and stars as stars."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("`")
            escaped = [part if odd % 2 else part.replace("*", r"\*") for odd, part in enumerate(parts)]
            lines[number] = "``".join(escaped)


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", as_restructured_text)
