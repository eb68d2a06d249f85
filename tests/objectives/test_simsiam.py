import numpy as np
import pytest
import torch
from torch import nn

from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.objectives import simsiam

GENERATOR = np.random.default_rng(0)
P1, P2, Z1, Z2 = GENERATOR.normal(size=(4, 7, 5))


def plain(p1, p2, z1, z2):
    """Equation 3, image by image."""

    def apart(p, z):
        return -sum(p * z) / (np.sqrt(sum(p * p)) * np.sqrt(sum(z * z)))

    return np.mean([apart(a, d) / 2 + apart(b, c) / 2 for a, b, c, d in zip(p1, p2, z1, z2, strict=True)])


def stacked(*parts):
    return torch.stack([torch.as_tensor(part) for part in parts], dim=1)


def test_equals_the_equation_and_its_derivative_with_z_held_constant():
    outputs = stacked(P1, P2, Z1, Z2).requires_grad_()
    loss = simsiam.loss(outputs)
    loss.backward()
    assert loss.shape == () and loss.item() == pytest.approx(plain(P1, P2, Z1, Z2), rel=1e-12)
    for which in (0, 1):
        for place in np.ndindex(P1.shape):
            parts = [[P1.copy(), P2.copy(), Z1, Z2] for _ in range(2)]
            parts[0][which][place] += 1e-6
            parts[1][which][place] -= 1e-6
            numeric = (plain(*parts[0]) - plain(*parts[1])) / 2e-6
            assert outputs.grad[place[0], which, place[1]].item() == pytest.approx(numeric, abs=1e-8)
    assert not outputs.grad[:, 2:].any()
    predictions = (torch.tensor(P1, requires_grad=True), torch.tensor(P2, requires_grad=True))
    assert torch.autograd.gradcheck(lambda a, b: simsiam.loss(stacked_with_gradient(a, b)), predictions)


def stacked_with_gradient(p1, p2):
    return torch.stack([p1, p2, torch.tensor(Z1), torch.tensor(Z2)], dim=1)


def test_agreement_and_opposition_are_the_ends_of_the_scale():
    assert simsiam.loss(stacked(P1, P2, P2 * 3, P1 * 2)).item() == pytest.approx(-1)
    assert simsiam.loss(stacked(P1, P2, -P2, -P1)).item() == pytest.approx(1)


class Published(nn.Module):
    """The network as Chen and He publish it, in the layout of their code."""

    def __init__(self, backbone, prev_dim, dim, pred_dim):
        super().__init__()
        self.encoder = backbone
        self.fc = nn.Sequential(
            nn.Linear(prev_dim, prev_dim, bias=False), nn.BatchNorm1d(prev_dim), nn.ReLU(inplace=True),
            nn.Linear(prev_dim, prev_dim, bias=False), nn.BatchNorm1d(prev_dim), nn.ReLU(inplace=True),
            nn.Linear(prev_dim, dim, bias=False), nn.BatchNorm1d(dim, affine=False),
        )  # fmt: skip
        self.predictor = nn.Sequential(
            nn.Linear(dim, pred_dim, bias=False), nn.BatchNorm1d(pred_dim), nn.ReLU(inplace=True),
            nn.Linear(pred_dim, dim),
        )  # fmt: skip

    def forward(self, x1, x2):
        z1, z2 = self.fc(self.encoder(x1)), self.fc(self.encoder(x2))
        p1, p2 = self.predictor(z1), self.predictor(z2)
        cosine = nn.CosineSimilarity(dim=1)
        return -(cosine(p1, z2.detach()).mean() + cosine(p2, z1.detach()).mean()) * 0.5


def backbone():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def test_network_loss_and_gradients_are_those_of_the_published_code():
    torch.manual_seed(0)
    ours = simsiam.attach(backbone(), 16).double()
    theirs = Published(backbone(), 16, 16, 4).double()
    mine, other = ours.state_dict(), theirs.state_dict()
    assert [v.shape for v in mine.values()] == [v.shape for v in other.values()]
    theirs.load_state_dict(dict(zip(other, mine.values(), strict=True)))
    views = torch.randn(6, 2, 3, 9, 9).double()
    loss, reference = simsiam.loss(ours(views)), theirs(views[:, 0], views[:, 1])
    loss.backward()
    reference.backward()
    assert loss.item() == pytest.approx(reference.item(), rel=1e-12)
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    for one, two in pairs:
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-9, atol=1e-12)
    for one, two in zip(ours.buffers(), theirs.buffers(), strict=True):  # statistics of each view in turn
        torch.testing.assert_close(one, two)


def test_statistics_of_the_first_view_alone_and_the_same_gradients():
    torch.manual_seed(0)
    both, first = simsiam.attach(backbone(), 16), simsiam.attach(backbone(), 16, statistics="first")
    first.load_state_dict(both.state_dict())
    alone = backbone()
    alone.load_state_dict(both.backbone.state_dict())
    views = torch.randn(6, 2, 3, 9, 9)
    views[:, 1] = views[:, 1] * 3 + 5
    for module in (both, first):
        simsiam.loss(module(views)).backward()
    alone(views[:, 0])
    for one, two in zip(both.parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=0, atol=0)
    for name in ("1.running_mean", "1.running_var"):
        torch.testing.assert_close(first.backbone.state_dict()[name], alone.state_dict()[name])
        assert not torch.allclose(both.backbone.state_dict()[name], alone.state_dict()[name], rtol=0.1)
    assert first.backbone[1].momentum == both.backbone[1].momentum == 0.1


def test_widths_of_resnet50_are_the_published_ones_and_the_network_keeps_its_names():
    module = simsiam.attach(nn.Identity(), 2048)
    shapes = [tuple(p.shape) for p in module.parameters() if p.ndim == 2]
    assert shapes == [(2048, 2048)] * 3 + [(512, 2048), (2048, 512)]
    inner = backbone()
    assert {k for k in simsiam.attach(inner, 16).state_dict() if k.startswith("backbone.")} == {
        f"backbone.{k}" for k in inner.state_dict()
    }
    with pytest.raises(ShapeError):
        simsiam.attach(nn.Identity(), 3)


@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (4, 1, 3, 8, 8), (4, 3, 3, 8, 8)])
def test_two_views_are_wanted(shape):
    with pytest.raises(ShapeError, match="two views"):
        simsiam.attach(nn.Identity(), 16)(torch.zeros(shape))


def test_spread_tells_collapse():
    normal = torch.randn(4000, 4, 64, generator=torch.Generator().manual_seed(0))
    assert simsiam.monitor(normal)["spread"].item() == pytest.approx(1, abs=0.02)
    same = normal[:1].expand(50, -1, -1) * torch.rand(50, 1, 1).add(0.1)
    assert simsiam.monitor(same)["spread"].item() == pytest.approx(0, abs=1e-6)
    # Two images at opposite points of an axis: that coordinate has deviation 1, the other three 0.
    two = torch.zeros(2, 4, 4)
    two[0, :, 1], two[1, :, 1] = 3, -5
    assert simsiam.monitor(two)["spread"].item() == pytest.approx(1 / 4 * 2)
    two[:, :2] = torch.randn(2, 2, 4)  # predictions are not looked at
    assert simsiam.monitor(two)["spread"].item() == pytest.approx(1 / 4 * 2)
    assert simsiam.monitor(normal[:1])["spread"].item() == 0


def test_labels_play_no_part():
    outputs = stacked(P1, P2, Z1, Z2)
    assert simsiam.loss(outputs, torch.zeros(7)).item() == simsiam.loss(outputs, torch.arange(7)).item()
    assert simsiam.class_weights([0, 0, 0]) is None and simsiam.outputs(["liver"]) == 0
    with pytest.raises(UsageError, match="none"):
        simsiam.class_weights([0, 1], "balanced")


def test_it_moves_views_of_an_image_together():
    torch.manual_seed(0)
    module = simsiam.attach(backbone(), 16)
    images = torch.randn(16, 1, 3, 9, 9)
    views = torch.cat([images, images + 0.3 * torch.randn_like(images)], dim=1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    before = simsiam.loss(module(views)).item()
    for _ in range(30):
        optimizer.zero_grad()
        simsiam.loss(module(views)).backward()
        optimizer.step()
    outputs = module(views)
    assert simsiam.loss(outputs).item() < before - 0.3
    assert simsiam.monitor(outputs)["spread"].item() > 0.3
