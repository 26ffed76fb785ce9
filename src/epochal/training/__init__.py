"""Train: one recipe's step, and when to stop."""

from epochal.system.facade import facade

__getattr__, __dir__, __all__ = facade(
    __name__,
    recipe="Recipe",
    losses="zero_one_loss negative_log_likelihood",
    objective="Objective",
    optimizers="",
    user_functions="",
    row_weights="",
    program="Program",
    score="Score",
    significance="",
    patience="Patience",
    tracker="FixedLength Tracker",
    snapshot="Snapshot",
    progress="Best Epoch Progress Stopped",
    fitted="Fit",
    ledger="",
    loop="",
    training="Training train",
)
