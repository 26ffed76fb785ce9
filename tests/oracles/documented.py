"""Runs the code blocks of one page, in their order, in the current folder: `python documented.py PAGE`.

Of console blocks the lines that begin with `epochal` are run, trainings for two epochs unless they say how many, and
`bench` on few rows. Python blocks are doctests where they have a prompt; one that begins with the name of a file,
`# my_model.py`, becomes that file; other ones are executed.
"""

import doctest
import re
import shlex
import sys
from pathlib import Path

from epochal.cli import main

SKIPPED = ("reproduce", "--install-completion")
BIG = ("fashion-mnist",)


def blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(console|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def files(text: str) -> dict[str, str]:
    """The Python blocks that begin with the name of a file, by that name."""
    named = ((re.match(r"# (\S+\.py)\n", block), block) for kind, block in blocks(text) if kind == "python")
    return {match[1]: block for match, block in named if match}


def console(block: str) -> None:
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["epochal"] or words[1] in SKIPPED or any(name in words for name in BIG):
            continue
        if words[1] in ("train", "select") and "--epochs" not in words:
            words += ["--epochs", "2"]
        if words[1] == "bench":
            words += ["--rows", "1000", "--repeats", "1", "--epochs", "1"]
        code = main(words[1:])
        if code:
            sys.exit(f"{line}: left with {code}")


def python(block: str, names: dict) -> None:
    if ">>>" in block:
        test = doctest.DocTestParser().get_doctest(block, names, "page", None, 0)
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        runner.run(test, clear_globs=False)
        names.update(test.globs)
        if runner.summarize(verbose=False).failed:
            sys.exit("an example gives something else")
    else:
        exec(compile(block, "page", "exec"), names)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))  # a page's code imports the files that the page shows
    shared: dict = {}
    page = Path(sys.argv[1]).read_text(encoding="utf-8")
    for name, text in files(page).items():
        Path(name).write_text(text, encoding="utf-8")
    for kind, block in blocks(page):
        if kind == "console":
            console(block)
        elif block in files(page).values():
            continue
        elif Path(sys.argv[1]).name != "README.md":  # whose examples pytest runs as doctests
            python(block, shared)
