"""The encoder that a name stands for: of a model artifact, or a built-in."""

from typing import Any

from cbir_cli import registry, windows
from cbir_cli.artifacts.embeddings import Space
from cbir_cli.artifacts.model import Model, read
from cbir_cli.errors import UsageError
from cbir_cli.images import InputSpec
from cbir_cli.stages.encoding import Settings, check_compat
from cbir_cli.stages.networks import Network
from cbir_cli.stages.ssim import Ssim

BUILT_IN = ("ssim", "imagenet")


def known_settings(name: str) -> dict[str, Any]:
    """Return what ``--set`` reaches of an encoder, with the defaults.

    Parameters
    ----------
    name : str
        Path, or one of ``BUILT_IN``.
    """
    built_in = {"window": ""} if name in BUILT_IN else {}
    return {"compat": "none", **built_in, **({"architecture": "densenet121"} if name == "imagenet" else {})}


def open_encoder(
    name: str,
    settings: Settings,
    *,
    image_size: int | None = None,
    window: str = "",
    architecture: str = "densenet121",
) -> Network | Ssim:
    """Return the encoder of a model artifact or of a built-in.

    Parameters
    ----------
    name : str
        Path, or one of ``BUILT_IN``.
    settings : Settings
    image_size : int, optional
        Side of the input; only where the model does not fix it.
    window : str
        Of a built-in: window in Hounsfield units, as ``windows.parse`` takes it.
    architecture : str
        Of ``imagenet``: a network of ``models/``.

    Raises
    ------
    UsageError
        If the model fixes another input size, or ``settings.compat`` does not go with it.
    WeightsError
        If ``imagenet`` is asked for and its weights cannot be had.
    """
    if name in BUILT_IN:
        return _built_in(name, settings, architecture, InputSpec(image_size or 224, window=windows.parse(window)))
    model = read(name)
    if image_size not in (None, model.input.size):
        raise UsageError(f"{name}: was trained at {model.input.size} px; --image-size {image_size} does not fit")
    return Network(model, settings)


def reopen(space: Space, settings: Settings) -> Network | Ssim | None:
    """Return the built-in encoder that a space is of, as it was; None where the space is of a model artifact."""
    name, _, architecture = space.model_name.partition(":")
    if name not in BUILT_IN:
        return None
    return _built_in(name, settings, architecture or "densenet121", InputSpec.from_dict(space.input))


def _built_in(name: str, settings: Settings, architecture: str, spec: InputSpec) -> Network | Ssim:
    if name == "ssim":
        check_compat(settings.compat, name, guided=False)
        return Ssim(spec)
    return Network(imagenet(architecture, spec), settings)


def imagenet(architecture: str, spec: InputSpec) -> Model:
    """Return a network as torchvision ships it, trained on ImageNet.

    Its name is ``imagenet`` for DenseNet-121, else ``imagenet:`` and the architecture: so an index remembers it.

    Raises
    ------
    UsageError
        If there is no such architecture.
    ShapeError
        If it does not take images of that size.
    WeightsError
        If there are no weights for it, or they cannot be had.
    """
    from cbir_cli import engines
    from cbir_cli.models import _weights

    network = registry.load("models", architecture)
    if hasattr(network, "FRESH"):
        raise UsageError(f"imagenet: {architecture} has no weights for all of its parts; train it with --init imagenet")
    engines.check_size(spec.size, network)
    name = "imagenet" if (plain := registry.canonical(architecture)) == "densenet121" else f"imagenet:{plain}"
    module = _weights.load_initial("imagenet", architecture, 1000, seed=0)
    return Model(
        architecture=plain,
        weights={name: tensor.numpy() for name, tensor in module.state_dict().items()},
        outputs=[f"imagenet {i}" for i in range(1000)],
        task={},
        objective="imagenet",
        feature_layer=f"{network.HEAD}.input",
        feature_width=network.FEATURES,
        input=spec,
        fingerprint=name,
        name=name,
    )
