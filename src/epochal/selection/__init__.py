"""Select: many recipes, compared on the validation split; the test split stays closed."""

from epochal.system.facade import facade

__getattr__, __dir__, __all__ = facade(
    __name__,
    options="Choosing",
    space="Range Space parse",
    search="CandidateList Search Study",
    session="Session",
    selecting="select resume",
    result="Selected",
    runner="",
    report="",
)
