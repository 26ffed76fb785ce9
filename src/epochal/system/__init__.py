"""The machine: bytes, files, locks, threads, processes. It knows nothing of learning."""

from epochal.system.facade import facade

__getattr__, __dir__, __all__ = facade(
    __name__,
    facade="facade",
    memory="format_bytes parse_bytes available_bytes",
    aligned="",
    permutations="",
    disk="",
    plain_files="",
    atomic="",
    json_file="",
    schema="",
    jsonl="",
    lock="",
    checksummed="",
    cache_folder="",
    disk_cache="",
    isolated="",
    prefetch="",
    signals="",
    environment="",
    extras="",
    options="Options",
    user_file="",
    user_code="",
    trust="",
)
