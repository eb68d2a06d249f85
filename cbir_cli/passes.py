"""One pass of a network over its training or its validation images, in one process or as one of many."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli import augmentation, batches, held_retrieval, optimisation
from cbir_cli.batches import Data, Indices, Pixels
from cbir_cli.distributed import Ranks
from cbir_cli.errors import CbirError
from cbir_cli.progress import Progress
from cbir_cli.recipe import Recipe
from cbir_cli.signals import terminate

if TYPE_CHECKING:
    import torch

log = logging.getLogger("cbir")

_DROPOUT, _HEADS = 3, 4
"""Keep these draws apart from the others that start from the same seed."""
_SAVED_EVERY = 300.0
"""Seconds of an epoch after which the run is saved within it."""

Metric = Callable[[ArrayLike, ArrayLike], float | None]
Scores = dict[str, Any]


@dataclass(frozen=True)
class Aim:
    """What a network is trained for.

    Attributes
    ----------
    objective : module
        Of the folder ``objectives``.
    head : str
        Name of the network's last layer. What it is given is the vector of an image, or, where the objective asks for
        no outputs, what it returns.
    width : int
        Length of the vector.
    metrics : mapping of str to callable
        ``score(truth, probability)``, computed on the validation images after every epoch.
    parameters : mapping
        Keyword arguments of the objective's loss.
    """

    objective: ModuleType
    head: str
    width: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classifies(self) -> bool:
        """Whether the network says a probability of an image."""
        return hasattr(self.objective, "probability")

    @property
    def scores(self) -> list[str]:
        """Names of what is computed on the validation images, beside the loss."""
        return [*(self.metrics if self.classifies else ()), *held_retrieval.NAMES]


class Trainee:
    """A network in training, with the heads of its objective and its optimiser.

    Parameters
    ----------
    module : Module
        In the memory of the device.
    recipe : Recipe
    aim : Aim
    device : str
    workers : int
    seed : int
    ranks : Ranks
    """

    def __init__(
        self, module: "torch.nn.Module", recipe: Recipe, aim: Aim, *, device: str, workers: int, seed: int, ranks: Ranks
    ) -> None:
        import torch

        self.module, self.recipe, self.aim, self.device = module, recipe, aim, torch.device(device)
        self.workers, self.seed, self.ranks = workers, seed, ranks
        self.trained = self.parallel = module
        if hasattr(aim.objective, "attach"):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(self._drawn(_HEADS))
                self.trained = self.parallel = aim.objective.attach(
                    module, aim.width, statistics=recipe.view_statistics
                ).to(device)
        self.weights: torch.Tensor | None = None
        self.parts = recipe.accumulate

    def begin(self, targets: Indices) -> None:
        """Make what training on images of these classes or labels needs beside the network."""
        import torch

        weights = self.aim.objective.class_weights(targets, self.recipe.class_weights)
        self.weights = None if weights is None else torch.from_numpy(weights).to(self.device)
        if self.ranks.together:
            from cbir_cli import whole_batch_norm

            whole_batch_norm.convert(self.trained)
            self.parallel = torch.nn.parallel.DistributedDataParallel(self.trained)
        fixed = getattr(self.aim.objective, "FIXED_RATE", ())
        self.optimizer = optimisation.optimizer(self.trained, self.recipe, fixed=fixed)

    def fit(
        self,
        data: Data,
        history: Sequence[Scores],
        begun: tuple[int, Mapping[str, float]],
        save: Callable[[int, Mapping[str, float]], None],
        stop: Callable[[], int],
    ) -> Scores:
        """Train for one epoch.

        Parameters
        ----------
        data : Data
        history : sequence of dict
            Entries of the epochs before.
        begun : (int, mapping)
            The last step that is done already, and the sums up to it: 0 and nothing at the start.
        save : callable
            Saves the run after a step, given its number and the sums up to it.
        stop : callable
            The number of the signal to end at, or 0.

        Returns
        -------
        dict
            The epoch's number, learning rate, mean loss and what the objective watches.
        """
        recipe, epoch, ranks = self.recipe, len(history) + 1, self.ranks
        first, rate = (optimisation.learning_rate(recipe, past, self._together) for past in ((), history))
        optimisation.set_learning_rate(self.optimizer, rate, first=first)

        def changed(pixels: Pixels, indices: Indices) -> Pixels:
            amounts = {name: getattr(recipe, name) for name in data.changes}
            return augmentation.augment(pixels, indices, **amounts, size=data.spec.size, seed=self.seed, epoch=epoch)

        order = self._order(data, epoch)
        step, sums = begun[0], Counter(begun[1])
        mine = [ranks.share(batch) for batch in order[step:]]
        numbers = [ranks.share(batch) for batch in batches.showings(order, len(data))[step:]]
        prepared = batches.ahead(data, mine, workers=self.workers, change=changed, numbers=numbers)
        progress = Progress(sum(map(len, order[step:])), f"epoch {epoch} of {recipe.epochs}")
        self.trained.train()
        saved = time.monotonic()
        with closing(progress), closing(prepared):
            for images, targets in prepared:
                batch = order[step]
                step += 1
                own = self._step(images, targets, data.targets[batch], self._drawn(_DROPOUT, epoch, step, ranks.rank))
                everywhere = ranks.gather((own, stop()))
                totals = {name: sum(part[name] for part, _ in everywhere) for name in own}
                if not np.isfinite(totals["loss"]):
                    raise diverged(f"the loss is {totals['loss']} in epoch {epoch}, step {step} of {len(order)}")
                sums.update({name: value * len(batch) for name, value in {**totals, "shown": 1}.items()})
                progress.advance(len(batch))
                if number := max(signal for _, signal in everywhere):
                    save(step, sums)
                    log.warning("ended after step %d of %d of epoch %d; --resume goes on", step, len(order), epoch)
                    terminate(number)
                if time.monotonic() - saved > _SAVED_EVERY:
                    save(step, sums)
                    saved = time.monotonic()
        save(step, sums)  # what follows, the validation, can take minutes
        shown = sums.pop("shown")
        return {"epoch": epoch, "lr": rate, **{name: value / shown for name, value in sums.items()}}

    def scores(self, validation: Data | None, owners: Sequence[str]) -> Scores:
        """Return the loss, each metric and the retrieval quality on the validation images, if there are any."""
        if not validation:
            return dict.fromkeys(["validation_loss", *self.aim.scores])
        vectors, logits, loss = self._predict(validation)
        objective, found = self.aim.objective, {"validation_loss": loss}
        if self.aim.classifies:
            probability = objective.probability(logits)
            found |= {name: score(validation.targets, probability) for name, score in self.aim.metrics.items()}
        return found | held_retrieval.scores(vectors, validation.targets, owners, similarity=objective.SIMILARITY)

    @property
    def _together(self) -> int:
        """Images a step, of all processes."""
        return self.recipe.batch_size * self.ranks.count

    def _order(self, data: Data, epoch: int) -> list[Indices]:
        """Return the batches of an epoch, those of all processes."""
        recipe = self.recipe
        order = batches.order(
            len(data),
            size=self._together,
            sampler=recipe.sampler,
            seed=self.seed,
            epoch=epoch,
            targets=data.targets,
            per_class=recipe.per_class * self.ranks.count,
        )
        if (
            len(order) > 1 and len(order[-1]) < 2 * self.ranks.count
        ):  # too few for batch norm: they join the last but one
            order[-2:] = [np.concatenate(order[-2:])]
        return order

    def _drawn(self, *key: int) -> int:
        """Return a number that follows from the seed and these."""
        return int(np.random.SeedSequence(self.seed, spawn_key=key).generate_state(1, np.uint64)[0])

    def _step(self, images: Pixels, targets: Indices, everyone: Indices, seed: int) -> dict[str, float]:
        """Change the weights by one batch, and return this process' part of its loss and of what is watched.

        A batch that does not fit into the memory of a GPU is cut into parts.
        """
        import torch

        while True:
            torch.manual_seed(seed)  # what dropout draws in this step, wherever the run was begun
            self.optimizer.zero_grad()
            try:
                sums = self._gradients(images, targets, everyone)
                break
            except torch.OutOfMemoryError as error:
                cut = 2 * self.parts
                if self.ranks.together or self.aim.objective.WHOLE_BATCH or cut > len(images) // 2:
                    raise CbirError("out of memory: give a smaller --batch-size") from error
                self.parts = cut
                log.warning("out of memory: each batch is now computed in %d parts, batch norm over each part", cut)
            torch.cuda.empty_cache()
        if self.recipe.clip:
            torch.nn.utils.clip_grad_norm_(self.trained.parameters(), self.recipe.clip)
        self.optimizer.step()
        return sums

    def _gradients(self, images: Pixels, targets: Indices, everyone: Indices) -> dict[str, float]:
        """Add up the gradients of a batch, part by part."""
        from cbir_cli import collectives

        ranks, objective = self.ranks, self.aim.objective
        counts = [len(some) for some in np.array_split(everyone, ranks.count)]
        # As many parts in every process, by the smallest share: all of them meet in each part.
        cut = max(1, min(self.parts, min(counts) // 2))
        parts = np.array_split(np.arange(len(images)), cut)
        sums: dict[str, float] = {}
        for number, rows in enumerate(parts, start=1):
            held = ranks.together and number < len(parts)  # gradients travel once a step
            with self.parallel.no_sync() if held else nullcontext():  # type: ignore[operator]
                outputs = self._forward(self.parallel, images[rows])
                share = len(rows) / len(everyone)
                if objective.WHOLE_BATCH:  # all processes compute the same loss, each for its own vectors
                    if ranks.together:
                        outputs = collectives.whole(outputs, ranks, counts)
                    loss, share = self._loss(outputs, everyone), 1 / ranks.count
                else:
                    loss = self._loss(outputs, targets[rows])
                # DistributedDataParallel divides the sum over the processes by their number.
                (loss * (share * ranks.count)).backward()
            watched = {}
            if hasattr(objective, "monitor"):
                seen = outputs.detach()
                if ranks.together and not objective.WHOLE_BATCH:
                    sizes = [len(np.array_split(np.arange(count), cut)[number - 1]) for count in counts]
                    seen = collectives.whole(seen, ranks, sizes)
                watched = objective.monitor(seen)
            for name, value in {"loss": loss.detach(), **watched}.items():
                sums[name] = sums.get(name, 0.0) + value.item() * share
        return sums

    def _predict(self, data: Data) -> tuple[NDArray[np.float32], NDArray[np.float32], float | None]:
        """Return vectors and logits of all images, and the mean loss, none where it is of pairs of images."""
        import torch

        objective, total = self.aim.objective, 0.0
        self.trained.eval()
        seen: list[torch.Tensor] = []
        # Of several views the first is what is searched with.
        hook = self.module.get_submodule(self.aim.head).register_forward_hook(
            lambda _, given, returned: seen.append(given[0] if self.aim.classifies else returned)
        )
        order = batches.cut(self.ranks.share(np.arange(len(data))), self.recipe.batch_size)
        prepared = batches.ahead(data, [some for some in order if len(some)], workers=self.workers)
        vectors, logits = [], []
        with torch.inference_mode(), closing(prepared):
            for images, targets in prepared:
                outputs = self._forward(self.trained, images, mixed=False)
                vectors.append(seen[0].float().cpu().numpy())
                seen.clear()
                if self.aim.classifies:
                    logits.append(outputs.cpu().numpy())
                if not objective.WHOLE_BATCH:
                    total += self._loss(outputs, targets).item() * len(targets)
        hook.remove()
        parts = self.ranks.gather((vectors, logits, total))
        found = [
            np.concatenate([rows for part in of_each for rows in part] or [np.empty(0, np.float32)])
            for of_each in ([part[0] for part in parts], [part[1] for part in parts])
        ]
        total = sum(part[2] for part in parts)
        if not np.isfinite(total) or not all(np.isfinite(values).all() for values in found):
            raise diverged("predictions of the validation images are not finite")
        return found[0], found[1], None if objective.WHOLE_BATCH else total / len(data)

    def _forward(self, module: "torch.nn.Module", images: Pixels, *, mixed: bool = True) -> Any:
        """Return what a network says of images; on a GPU in mixed precision, unless others are to get the same."""
        import torch

        batch = torch.from_numpy(images).to(self.device)
        if batch.dim() == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=mixed and self.device.type == "cuda"):
            outputs = module(batch)
        return outputs.float() if isinstance(outputs, torch.Tensor) else outputs

    def _loss(self, outputs: Any, targets: Indices) -> "torch.Tensor":
        import torch

        truth = torch.from_numpy(targets).to(self.device)
        loss: torch.Tensor = self.aim.objective.loss(outputs, truth, weights=self.weights, **self.aim.parameters)
        return loss


def diverged(what: str) -> CbirError:
    """Return the error of a training whose numbers are not numbers any more."""
    return CbirError(f"training diverged: {what}; try a smaller lr (--set lr=...), or trained initial weights")
