"""Deep Taylor of a DenseNet, written down in numpy layer by layer: slow, and without any automatic gradient."""

import numpy as np


def patches(x, size, stride, padding):
    """Return a convolution's inputs at each position, (positions, C * size * size), and the shape of its output."""
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))[:, ::stride, ::stride]
    _, height, width = windows.shape[:3]
    return windows.transpose(1, 2, 0, 3, 4).reshape(height * width, -1), (height, width)


def convolve(x, weight, stride, padding):
    """Return weight (O, C, k, k) over x (C, H, W), without a bias."""
    rows, (height, width) = patches(x, weight.shape[2], stride, padding)
    return (rows @ weight.reshape(len(weight), -1).T).T.reshape(-1, height, width)


def spread(values, weight, shape, stride, padding):
    """Send values (O, h, w) from the outputs of a convolution back to its inputs, by its weights."""
    channels, height, width = shape
    result = np.zeros((channels, height + 2 * padding, width + 2 * padding))
    h, w = values.shape[1:]
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            part = np.tensordot(weight[:, :, i, j], values, ((0,), (0,)))
            result[:, i : i + stride * h : stride, j : j + stride * w : stride] += part
    return result[:, padding : padding + height, padding : padding + width]


def z_plus(x, weight, relevance, stride, padding):
    """Share relevance by positive contributions, positive and negative inputs apart."""
    halves = [(np.maximum(x, 0), np.maximum(weight, 0)), (np.minimum(x, 0), np.minimum(weight, 0))]
    total = sum(convolve(part, half, stride, padding) for part, half in halves)
    share = np.divide(relevance, total, out=np.zeros_like(relevance), where=total != 0)
    return sum(part * spread(share, half, x.shape, stride, padding) for part, half in halves)


class Plain:
    """A DenseNet under torchvision's names, and its Deep Taylor maps (batch norm hands relevance on)."""

    def __init__(self, state, blocks):
        self.state = {name: value.double().numpy() for name, value in state.items()}
        self.blocks = blocks

    def norm_relu(self, x, name):
        weight, bias, mean, variance = (
            self.state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return np.maximum((x - mean) / np.sqrt(variance + 1e-5) * weight + bias, 0)

    def explain(self, image):
        """Return the logit and the map (3, H, W) that starts with its sigmoid."""
        steps = []  # of the way back, each a function of relevance; the last is undone first

        def conv(x, name, stride=1, padding=0):
            weight = self.state[f"{name}.weight"]
            steps.append(lambda r: z_plus(x, weight, r, stride, padding))
            return convolve(x, weight, stride, padding)

        def norm_relu(x, name):
            y = self.norm_relu(x, name)
            steps.append(lambda r: r * (y > 0))
            return y

        x = norm_relu(conv(image, "features.conv0", 2, 3), "features.norm0")
        x = self.max_pool(x, steps)
        for number, depth in enumerate(self.blocks, 1):
            for layer in range(1, depth + 1):
                name = f"features.denseblock{number}.denselayer{layer}"
                outer, steps = steps, []
                y = norm_relu(x, f"{name}.norm1")
                y = norm_relu(conv(y, f"{name}.conv1"), f"{name}.norm2")
                y = conv(y, f"{name}.conv2", padding=1)
                outer.append(self.branch(steps, len(x)))
                steps, x = outer, np.concatenate([x, y])
            if number < len(self.blocks):
                name = f"features.transition{number}"
                x = conv(norm_relu(x, f"{name}.norm"), f"{name}.conv")
                x = self.average(x, steps)
        x = norm_relu(x, "features.norm5")
        features = x.mean((1, 2))
        weight = self.state["classifier.weight"][0]
        logit = weight @ features + self.state["classifier.bias"][0]
        contributions = np.maximum(features * weight, 0)
        relevance = contributions / contributions.sum() / (1 + np.exp(-logit))
        relevance = np.broadcast_to(relevance[:, None, None] / x[0].size, x.shape)
        for step in reversed(steps):
            relevance = step(relevance)
        return logit, relevance

    @staticmethod
    def branch(steps, channels):
        """Return the way back through a dense layer: what the new channels hand down is added to the old ones."""

        def back(relevance):
            new = relevance[channels:]
            for step in reversed(steps):
                new = step(new)
            return relevance[:channels] + new

        return back

    @staticmethod
    def max_pool(x, steps):
        rows, (height, width) = patches(x.reshape(-1, 1, *x.shape[1:])[:, 0], 3, 2, 1)
        windows = rows.reshape(height, width, len(x), 9)
        winner = windows.argmax(-1)  # the first of equals, as torch has it

        def back(relevance):
            result = np.zeros((len(x), x.shape[1] + 2, x.shape[2] + 2))
            for k in range(9):
                part = np.where(winner.transpose(2, 0, 1) == k, relevance, 0)
                i, j = divmod(k, 3)
                result[:, i : i + 2 * height : 2, j : j + 2 * width : 2] += part
            return result[:, 1:-1, 1:-1]

        steps.append(back)
        return windows.max(-1).transpose(2, 0, 1)

    @staticmethod
    def average(x, steps):
        channels, height, width = x.shape
        h, w = height // 2, width // 2

        def back(relevance):
            result = np.zeros(x.shape)
            result[:, : 2 * h, : 2 * w] = relevance.repeat(2, axis=1).repeat(2, axis=2) / 4
            return result

        steps.append(back)
        return x[:, : 2 * h, : 2 * w].reshape(channels, h, 2, w, 2).mean((2, 4))
