"""Networks whose ReLUs are modules, each run once and not in place: other libraries hook nothing else."""

from functools import cache

import torch
import torchvision.models
from torch import nn
from torchvision.models import DenseNet


def conv_net(n_outputs=3, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 5, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(80, 12),
            nn.ReLU(),
            nn.Linear(12, n_outputs),
        ).eval()


def dense_net(n_outputs=3, seed=0):
    """torchvision's DenseNet, and its weights in a network without functional and in-place ReLUs."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DenseNet(4, (2, 2), 8, num_classes=n_outputs).eval()
        apart = DenseNet(4, (2, 2), 8, num_classes=n_outputs)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data.uniform_(-0.2, 1.5)
                module.bias.data.uniform_(-0.3, 0.3)
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 1.5)
    apart.load_state_dict(model.state_dict())
    for module in apart.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    layers = [apart.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), apart.classifier]
    return model, nn.Sequential(*layers).eval()


def pairs(dtype=torch.float64):
    """Return (network, the same for other libraries, images, targets) by name."""
    conv, (model, apart) = conv_net().to(dtype), dense_net()
    return {
        "conv": (conv, conv, images(3, 16, dtype), torch.tensor([0, 2, 1])),
        "dense": (model.to(dtype), apart.to(dtype), images(3, 64, dtype), torch.tensor([0, 2, 1])),
    }


@cache
def backbone(name):
    """Return one of torchvision's networks with two outputs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torchvision.models.get_model(name, num_classes=2).eval()


def images(count, size, dtype=torch.float64, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
