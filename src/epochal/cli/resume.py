"""`epochal resume`."""

import time
from pathlib import Path
from typing import Annotated

from epochal.cli.options import Code, Flag, Flat, Json, Log, Memory, Quiet, amount
from epochal.errors import RecipeError


def resume(
    run: Path,
    *,
    code: Annotated[Code, Flat] = Code(),
    strict: Flag = False,
    memory: Memory = None,
    log: Log = (),
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Go on with a run or a selection that was interrupted or killed, to the bits of one that was not.

    Parameters
    ----------
    run
        A run folder, or the folder of a selection.
    strict
        Refuse where another machine, core count, version or setting of JAX may change bits, or a file of the model has
        changed.

    """
    from epochal.cli import output
    from epochal.system.signals import listening

    with listening() as signals:
        begun = time.perf_counter()
        if (run / "selection.json").is_file():
            from epochal.cli.select import resume as resume_selection

            if code.model is not None:
                raise RecipeError("--model: a selection has models of its own; leave it out, or select again")
            return resume_selection(run, signals, strict=strict, trust=code.trust, as_json=json, quiet=quiet)
        from epochal.runs import loggers
        from epochal.runs.run import resume as resume_run

        log = tuple(dict.fromkeys([*loggers.kept(run, trusted=code.trust), *log]))  # pyrefly: ignore
        loggers.check(log)
        memory_bytes = amount(memory, "--memory")
        resumed = resume_run(run, model=code.reference, strict=strict, trust=code.trust, memory_bytes=memory_bytes)
        signals.watch(resumed.folder.training)
        seconds = {"load": time.perf_counter() - begun}
        say = output.Printer(quiet=quiet or json)
        for note in resumed.notes:
            say(f"note: {note}")
        training = resumed.folder.training
        done = f"has ended by {training.stopped}" if training.stopped else f"goes on after step {training.step:,}"
        say(f"{run}: {done}")
        data = training.data.origin or "DATA"
        return output.finish(resumed.folder, signals, seconds, data=data, log=log, as_json=json, quiet=quiet)
