"""Several processes of torchrun that make one artifact: each writes its shard, and the first joins them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cbir_cli import distributed, engines
from cbir_cli.artifacts.files import STDIO
from cbir_cli.errors import UsageError
from cbir_cli.stages.merge import merge


@dataclass
class Share:
    """What one process makes.

    Attributes
    ----------
    output : str
        Where it writes.
    shard : tuple of int
        Part I of N.
    unreadable : dict of str to str
        Why images have no row: to be filled in. In the end the first process has those of all, and the others none.
    """

    output: str
    shard: tuple[int, int]
    unreadable: dict[str, str] = field(default_factory=dict)


@contextmanager
def shares(output: str, shard: tuple[int, int], *, device: str) -> Iterator[Share]:
    """Yield where this process writes, and which shard; after the block the whole artifact is there.

    Without torchrun these are ``output`` and ``shard``. With it the processes meet at the end, so that none of them
    ends before the shards are joined. The artifact has the bytes that one process would have written.

    Parameters
    ----------
    output : str
    shard : tuple of int
        What ``--shard`` asks for.
    device : str
        As of ``engines.choose_device``.

    Raises
    ------
    UsageError
        If torchrun's processes are to write to a pipe, or are asked for one shard.
    """
    if not distributed.launched().together:
        yield Share(output, shard)
        return
    if output == STDIO:
        raise UsageError("several processes cannot write to one pipe: give -o FILE")
    if shard != (1, 1):
        raise UsageError("--shard: torchrun's processes take shards of their own; give one or the other")
    with distributed.joined(engines.choose_device(device)) as ranks:
        parts = [f"{output}.shard-{number}-of-{ranks.count}" for number in range(1, ranks.count + 1)]
        share = Share(parts[ranks.rank], (ranks.rank + 1, ranks.count))
        yield share
        everywhere = ranks.gather(share.unreadable)
        share.unreadable = {key: why for part in everywhere for key, why in part.items()} if ranks.first else {}
        if ranks.first:
            merge(parts, output)
            for part in parts:
                Path(part).unlink()
        ranks.wait()
