"""Several processes that train, or go through images, together: what ``torchrun`` starts.

``torchrun --nproc-per-node 4 -m cbir_cli train ...`` starts the same command four times and tells each its rank. Each
process takes its part of every batch, or of the images; rank 0 alone writes and speaks.

A batch is as large as all parts together, and what is computed is what one process would compute of it: gradients are
averaged by the images (PyTorch's DistributedDataParallel), batch norm has the statistics of the whole batch, and a loss
over pairs sees all vectors. So N processes with batches of B equal one with batches of N * B up to rounding, but for
dropout, which each draws for itself, and the end of an epoch, where a process needs two images.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")

_PATIENCE = timedelta(days=2)
"""For each other: shards may differ by hours, and torchrun ends all when one dies."""


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is; alone it is the first of one.

    Attributes
    ----------
    rank, count : int
        From 0, among all machines.
    local : int
        From 0, on this machine: the number of its GPU.
    neighbours : int
        How many there are on this machine.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    neighbours: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def together(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    def share(self, items: "NDArray[Any]") -> "NDArray[Any]":
        """Return this process' part of a row of numbers: as even as can be, and in order."""
        import numpy as np

        return np.array_split(items, self.count)[self.rank]

    def gather(self, mine: T) -> list[T]:
        """Return what each process has, in the order of ranks, to each of them."""
        if not self.together:
            return [mine]
        import torch.distributed

        everyone: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(everyone, mine)
        return everyone

    def wait(self) -> None:
        """Return when all processes are here."""
        self.gather(None)


ALONE = Ranks()


def launched() -> Ranks:
    """Return what torchrun told this process; without torchrun it is alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # other launchers set RANK for purposes of their own
        return ALONE
    return Ranks(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Connect the processes for the length of a block: gloo on CPUs, NCCL on GPUs.

    Parameters
    ----------
    device : str
        ``cpu`` or ``cuda``; each process takes the GPU of its local rank.
    """
    ranks = launched()
    if not ranks.together:
        yield ranks
        return
    import torch

    if device == "cuda":
        torch.cuda.set_device(ranks.local)
    backend = "nccl" if device == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield ranks
    finally:
        torch.distributed.destroy_process_group()
