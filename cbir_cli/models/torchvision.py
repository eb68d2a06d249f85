"""Any classifier of torchvision under its own name: ``torchvision.resnet18``, ``torchvision.efficientnet-b0``.

Nothing of a network is written down here but its smallest image: it is torchvision's, with torchvision's key names, and
its last layer is its last ``Linear``, which is read off a copy that allocates nothing. It runs on torch, for it has no
ONNX graph. All of torchvision's classifiers are here but SqueezeNet, whose last layer is a convolution that is averaged
after a ReLU: it has no vector in front of it.

GoogLeNet and Inception v3 come without their auxiliary outputs, and rescale what they are given to the range that their
ImageNet weights expect, as they do in torchvision where they come with these weights.

Reference
---------
TorchVision maintainers and contributors. TorchVision: PyTorch's Computer Vision library. 2016.
https://docs.pytorch.org/vision/stable/models.html names the paper of each network.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

MEMBERS = {
    "alexnet": 63,
    "convnext_base": 32,
    "convnext_large": 32,
    "convnext_small": 32,
    "convnext_tiny": 32,
    "densenet121": 29,
    "densenet161": 29,
    "densenet169": 29,
    "densenet201": 29,
    "efficientnet_b0": 1,
    "efficientnet_b1": 1,
    "efficientnet_b2": 1,
    "efficientnet_b3": 1,
    "efficientnet_b4": 1,
    "efficientnet_b5": 1,
    "efficientnet_b6": 1,
    "efficientnet_b7": 1,
    "efficientnet_v2_l": 1,
    "efficientnet_v2_m": 1,
    "efficientnet_v2_s": 1,
    "googlenet": 15,
    "inception_v3": 75,
    "maxvit_t": 224,
    "mnasnet0_5": 1,
    "mnasnet0_75": 1,
    "mnasnet1_0": 1,
    "mnasnet1_3": 1,
    "mobilenet_v2": 1,
    "mobilenet_v3_large": 1,
    "mobilenet_v3_small": 1,
    "regnet_x_16gf": 1,
    "regnet_x_1_6gf": 1,
    "regnet_x_32gf": 1,
    "regnet_x_3_2gf": 1,
    "regnet_x_400mf": 1,
    "regnet_x_800mf": 1,
    "regnet_x_8gf": 1,
    "regnet_y_128gf": 1,
    "regnet_y_16gf": 1,
    "regnet_y_1_6gf": 1,
    "regnet_y_32gf": 1,
    "regnet_y_3_2gf": 1,
    "regnet_y_400mf": 1,
    "regnet_y_800mf": 1,
    "regnet_y_8gf": 1,
    "resnet101": 1,
    "resnet152": 1,
    "resnet18": 1,
    "resnet34": 1,
    "resnet50": 1,
    "resnext101_32x8d": 1,
    "resnext101_64x4d": 1,
    "resnext50_32x4d": 1,
    "shufflenet_v2_x0_5": 1,
    "shufflenet_v2_x1_0": 1,
    "shufflenet_v2_x1_5": 1,
    "shufflenet_v2_x2_0": 1,
    "swin_b": 4,
    "swin_s": 4,
    "swin_t": 4,
    "swin_v2_b": 4,
    "swin_v2_s": 4,
    "swin_v2_t": 4,
    "vgg11": 32,
    "vgg11_bn": 32,
    "vgg13": 32,
    "vgg13_bn": 32,
    "vgg16": 32,
    "vgg16_bn": 32,
    "vgg19": 32,
    "vgg19_bn": 32,
    "vit_b_16": 224,
    "vit_b_32": 224,
    "vit_h_14": 224,
    "vit_l_16": 224,
    "vit_l_32": 224,
    "wide_resnet101_2": 1,
    "wide_resnet50_2": 1,
}
"""Smallest image in pixels of each, measured: below it a pooling or a convolution has nothing to work on."""

ONLY = {"maxvit_t": 224, "vit_b_16": 224, "vit_b_32": 224, "vit_h_14": 224, "vit_l_16": 224, "vit_l_32": 224}
"""Side in pixels of the networks that take one size: they have learnt a vector for each place of their grid."""

_AUXILIARY = ("googlenet", "inception_v3")


class Classifier:
    """A network of torchvision, with the attributes of a module of this folder.

    Parameters
    ----------
    name : str
        As torchvision has it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.__doc__ = f"torchvision's ``{name}``.\n\n{__doc__}"

    def build(self, n_outputs: int) -> "nn.Module":
        """Return the network with fresh weights: (N, 3, S, S) float32 to (N, n_outputs); 0 for no last layer."""
        from torch import nn

        net = self._made(max(n_outputs, 1))
        if not n_outputs:
            net.set_submodule(self.HEAD, nn.Identity())
        return net

    @property
    def MIN_SIZE(self) -> int:
        """Pixels."""
        return MEMBERS[self.name]

    @property
    def ONLY_SIZE(self) -> int | None:
        """Pixels, where the network takes one size; else None."""
        return ONLY.get(self.name)

    @property
    def HEAD(self) -> str:
        """Name of the last layer."""
        return self._last[0]

    @property
    def FEATURES(self) -> int:
        """Length of the vector that the last layer is given."""
        return self._last[1]

    @property
    def IMAGENET(self) -> str:
        """Name of the weights that ``--init imagenet`` starts from, as torchvision has it: the first of each network.

        They are those of its paper's recipe and of the common size; the default ones change with torchvision's version.
        ``vit_h_14`` and ``regnet_y_128gf`` have none but those of SWAG; of these it is the linear one, for 224 px.
        """
        from torchvision.models import get_model_weights

        weights = get_model_weights(self.name)
        first = "IMAGENET1K_V1" if "IMAGENET1K_V1" in weights.__members__ else "IMAGENET1K_SWAG_LINEAR_V1"
        return f"{weights.__name__}.{first}"

    @cached_property
    def _last(self) -> tuple[str, int]:
        from torch import nn

        with _unallocated():
            net = self._made(1)
        *_, (name, layer) = ((name, m) for name, m in net.named_modules() if isinstance(m, nn.Linear))
        return name, layer.in_features

    def _made(self, outputs: int) -> "nn.Module":
        from torchvision.models import get_model

        options = {"aux_logits": False, "transform_input": True, "init_weights": True}
        more = options if self.name in _AUXILIARY else {}
        net: nn.Module = get_model(self.name, weights=None, num_classes=outputs, **more)
        return net


def member(name: str) -> Classifier:
    """Return one network."""
    return Classifier(name)


def _unallocated() -> Any:
    """Return a context in which weights have shapes and no values: building a network takes no time and no memory.

    ``torch.device("meta")`` would do the same to the small tensors that RegNet computes its sizes with.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Unallocated(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            shapes_only = {"device": "meta"} if func in (torch.empty, torch.ones, torch.zeros) else {}
            return func(*args, **{**(kwargs or {}), **shapes_only})

    return Unallocated()
