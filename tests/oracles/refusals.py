"""What every refusal of data must look like."""

from collections.abc import Callable
from typing import Any

import pytest

from epochal.errors import DataError


def refusal(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The message of the DataError that the call raises: one to three lines, the place, a colon, and a remedy."""
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert message.count("\n") < 3
    place, _, rest = message.partition(": ")
    assert place
    assert ";" in rest, f"no remedy: {message}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "a second traceback would be shown"
    return message


def value_or_refusal(call: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, str]:
    """What the call returns, or None and the message of its DataError; no other exception will do."""
    try:
        return call(*args, **kwargs), ""
    except DataError as error:
        return None, str(error)
