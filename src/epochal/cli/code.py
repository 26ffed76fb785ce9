"""Options of the commands that open a run: which code is executed."""

from dataclasses import dataclass

from epochal.cli.options import Flag
from epochal.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class Code:
    """Which code of a model is executed where a run is opened."""

    model: str | None = None
    """FILE.py:NAME takes the model of that file as it is now; left out: the text that the run keeps."""

    trust: Flag = False
    """Execute code that the run keeps and that no run of yours has written."""

    def chosen(self) -> str | None:
        """The absolute form of FILE.py:NAME, None where it is left out. Raises RecipeError."""
        from epochal.system import user_file

        if self.model is None or user_file.is_reference(self.model):
            return None if self.model is None else user_file.absolute(self.model)
        raise RecipeError(
            f"--model: must be FILE.py:NAME, in place of the model that the run keeps, got {self.model!r}"
        )
