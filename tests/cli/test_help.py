"""What `--help` shows: the options in groups, each in one."""

import re
from dataclasses import fields

import pytest

from epochal.cli import main
from epochal.cli.options import Architecture
from epochal.data.options import Reading
from epochal.runs.options import CheckpointOptions
from epochal.selection.options import Choosing
from epochal.training.recipe import Recipe

TRAIN = ["Data", "Model", "Training", "Stopping", "Device", "Run", "Output"]
SELECT = ["Data", "Model", "Training", "Stopping", "Selection", "Device", "Run", "Output"]
STOPPING = {"--epochs", "--patience-steps", "--patience-increase", "--improvement-threshold", "--improvement-p"}


def _groups(command, capsys):
    """The options of each group, in order."""
    main([command, "--help"])
    found = {}
    for line in capsys.readouterr().out.splitlines():
        if title := re.match(r"╭─ (\w+) ─", line):
            options = found.setdefault(title[1], [])
        elif option := re.match(r"│ +(?:DATA )?(--[a-z0-9-]+)", line):
            options.append(option[1])
    return {title: set(options) for title, options in found.items()}


def _flags(of):
    return {f"--{field.name.replace('_', '-')}" for field in fields(of)}


@pytest.mark.parametrize(("command", "titles"), [("train", TRAIN), ("select", SELECT)])
def test_options_are_in_groups(command, titles, capsys):
    groups = _groups(command, capsys)
    assert list(groups) == titles
    assert _flags(Reading) <= groups["Data"]
    assert groups["Model"] == _flags(Architecture)
    assert groups["Stopping"] == STOPPING
    assert groups["Training"] == _flags(Recipe) - STOPPING
    assert "--memory" in groups["Device"]
    assert {"--json", "--quiet"} == groups["Output"]
    assert {"--out", "--config"} <= groups["Run"]


def test_what_a_command_has_of_its_own_is_in_its_group(capsys):
    assert _flags(CheckpointOptions) <= _groups("train", capsys)["Run"]
    assert _flags(Choosing) | {"--trials", "--optuna", "--open-test"} <= _groups("select", capsys)["Selection"]
