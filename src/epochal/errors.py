"""The exceptions that epochal raises on purpose.

    EpochalError            exit code 1
    ├── RecipeError         2   a hyper-parameter out of its range (also a ValueError)
    ├── DataError           2   input that cannot be used: the file, the place, both values, the remedy
    ├── CapacityError       2   the data and the program do not fit the memory granted
    ├── DivergedError       3   the loss became NaN or infinite
    └── RunError            2   a run folder that cannot be read or continued
        └── StorageError    1   a checkpoint that cannot be written

A message is one to three lines: the place first, then what was found against what was expected, then what to do.
The command line prints it as it stands and leaves with the class's `exit_code`; a traceback is never part of it.
"""


class EpochalError(Exception):
    """Root of every exception raised on purpose; catch it to catch them all."""

    exit_code = 1


class RecipeError(EpochalError, ValueError):
    """A hyper-parameter or an option has a value that makes no sense."""

    exit_code = 2


class DataError(EpochalError):
    """Input data that cannot be used as they are."""

    exit_code = 2


class CapacityError(EpochalError):
    """The data, or the program that trains on them, need more memory than is granted."""

    exit_code = 2


class DivergedError(EpochalError):
    """The training loss became NaN or infinite."""

    exit_code = 3


class RunError(EpochalError):
    """A run folder that is missing, damaged, in use, or belongs to other data or another recipe."""

    exit_code = 2


class StorageError(RunError):
    """The state of a run cannot be saved: the disk is full, read-only, or failing."""

    exit_code = 1
