"""Models: pairs of pure functions `(init, logits)`; the built-in ones, and adapters for modules of other libraries."""

from epochal.system.facade import facade

__getattr__, __dir__, __all__ = facade(
    __name__,
    base="Model Variables split_variables merge_variables compute_dtype",
    parameters="",
    jaxpr="",
    convolution="conv2d conv_pool max_pool",
    built_in="BUILT_IN logistic mlp lenet",
    adapters="adapted name_of",
)
