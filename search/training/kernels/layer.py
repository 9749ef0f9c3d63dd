"""One stage of a network with the memory that it works in."""

from __future__ import annotations

import torch
from torch import Tensor

from search.layers.rotated import RotatedConv2d
from search.training.kernels.loading import load
from search.training.kernels.maps import Map
from search.training.kernels.stages import Stage, dropout_key, threshold

Gradients = list[Tensor | None]


class Layer:
    """Runs a ``Stage`` forward and backward on batches of one size.

    What the backward pass needs stays in this object's memory until the next forward pass: a
    step allocates nothing, and zeros around maps are written once.

    Args:
        stage: What to compute.
        x_shape: Channels, height, width and images of what comes in.
        padding: Zeros that the next stage wants around this one's output.
        dtype: Of maps; statistics and gradients of parameters are of the parameters' type.
    """

    def __init__(
        self,
        stage: Stage,
        x_shape: tuple[int, int, int, int],
        padding: int,
        dtype: torch.dtype,
    ) -> None:
        self._stage, self._dtype = stage, dtype
        self._kernels = load(dtype)
        channels, height, width, images = x_shape
        shrink = 2 * stage.padding - stage.kernel + 1
        outputs = stage.convolution.out_channels
        height, width = height + shrink, width + shrink
        self._x_shape = x_shape
        inner = 0 if stage.rectifies else padding
        self._z = Map.make(outputs, height, width, images, inner, dtype)  # behind the convolution
        pools = stage.pool != "none"
        small = (outputs, height // 2, width // 2) if pools else (outputs, height, width)
        self.y = Map.make(*small, images, padding, dtype) if stage.rectifies else self._z
        self._places = torch.zeros((*small, images) if pools else 0, dtype=torch.uint8)
        # Of each window the largest value before BatchNorm: its input, or that of the winner.
        self._pooled = Map.make(*small, images, 0, dtype) if pools else self._z
        own = stage.convolution.weight
        exact = own.dtype
        # Where each weight of rotated filters, written out, has its value among the layer's own.
        self._read_from: Tensor | None = None
        if isinstance(stage.convolution, RotatedConv2d):
            places = stage.convolution.expanded(torch.arange(own.numel()).view(own.shape))
            self._read_from = places.flatten()
            self._expanded = torch.empty(places.shape, dtype=exact)
        self._constants = torch.zeros(7, outputs, dtype=exact)
        step = outputs * self._constants.element_size()
        start = self._constants.data_ptr()
        self._lines = [start + i * step for i in range(7)]
        self._no_bias = torch.zeros(max(outputs, channels), dtype=exact)
        self._dz: Map | None = None
        self._dx: Map | None = None

    def forward(self, x: Map, seed: int, *, training: bool) -> Map:
        """The stage's output; x has at least the convolution's padding."""
        stage = self._stage
        self._x, self._scale = x, stage.scale if training else 1.0
        bias = stage.convolution.bias
        if bias is not None:
            bias = _of_rotations(bias, self._z.shape[0])
        # The backward pass is of these weights, whatever the layer has by then.
        self._weight = stage.convolution.weight.detach()
        if self._read_from is not None:
            own, self._weight = self._weight.flatten(), self._expanded
            torch.index_select(own, 0, self._read_from, out=self._weight.view(-1))
        self._convolve(x, stage.padding, self._z, self._weight, bias, turned=False)
        if not stage.rectifies:
            return self.y
        early = stage.pool == "early"
        if early:
            self._kernels.pool(
                self._z.pointer, self._pooled.pointer, self._places.data_ptr(), *self._z.shape
            )
        self._normalise(self._pooled if early else self._z, training=training)
        rate, pooled_rate = (stage.rate, stage.pooled_rate) if training else (0.0, 0.0)
        coefficients = self._lines[2:4]
        if stage.pool == "late":
            self._kernels.activate_and_pool(
                *(self._z.pointer, self.y.pointer, *self.y.edges),
                *(self._pooled.pointer, self._places.data_ptr(), *self._z.shape, *coefficients),
                *_dropout(rate, seed, 2 * stage.place),
                *_dropout(pooled_rate, seed, 2 * stage.place + 1),
            )
        else:
            self._kernels.activate(
                *(self._pooled.pointer, self.y.pointer, *self.y.edges, *self.y.lines),
                *(*coefficients, *_dropout(rate, seed, 2 * stage.place)),
            )
        return self.y

    def backward(self, dy: Map, *, wanted: bool) -> tuple[Map | None, Gradients]:
        """Gradients of x, where it is wanted, and of the stage's parameters.

        Args:
            dy: Gradient of the output of the last ``forward``, which was in training; no padding.
            wanted: Whether the gradient of x is.
        """
        stage = self._stage
        margin = stage.kernel - 1 - stage.padding
        if self._dz is None:
            self._dz = Map.make(*self._z.shape, max(margin, 0) if wanted else 0, self._dtype)
        dz = self._dz
        d_norm: Gradients = [None, None]
        if stage.rectifies:
            d_norm = self._normalise_backward(dy, dz)
        else:
            dz.inside.copy_(dy.inside)
        weight = self._weight
        d_weight = torch.empty_like(weight)
        channels, _, _, _ = self._x_shape
        outputs, rows, columns, images = self._z.shape
        self._kernels.weight_gradient(
            0,
            *(*self._x.corner(stage.padding), *dz.corner(0)),
            *(channels, outputs, stage.kernel, rows, columns, images),
            *(d_weight.data_ptr(), *d_weight.stride()),
        )
        d_bias = None
        if stage.convolution.bias is not None:
            of_maps = torch.empty(outputs, dtype=weight.dtype)
            self._kernels.channel_sums(dz.pointer, *dz.edges, *dz.lines, of_maps.data_ptr())
            d_bias = _summed(of_maps, stage.convolution.bias)
        dx = None
        if wanted:
            if self._dx is None:
                self._dx = Map.make(*self._x_shape, 0, self._dtype)
            dx = self._dx
            self._convolve(dz, margin, dx, weight, None, turned=True)
        if self._read_from is not None:
            own = stage.convolution.weight
            d_own = torch.zeros(own.numel(), dtype=own.dtype)
            d_own.index_add_(0, self._read_from, d_weight.view(-1))
            d_weight = d_own.view(own.shape)
        return dx, [d_weight, d_bias, *d_norm]

    def _convolve(
        self, x: Map, margin: int, y: Map, weight: Tensor, bias: Tensor | None, *, turned: bool
    ) -> None:
        of_output, of_channel, of_row, of_column = weight.stride()
        if turned:
            of_output, of_channel = of_channel, of_output
        outputs, rows, columns, images = y.shape
        start = self._no_bias if bias is None else bias
        self._kernels.convolve(
            0,
            *(*x.corner(margin), *y.corner(0)),
            *(x.shape[0], outputs, self._stage.kernel, rows, columns, images),
            *(weight.data_ptr(), of_output, of_channel, of_row, of_column, turned),
            start.data_ptr(),
        )

    def _normalise(self, x: Map, *, training: bool) -> None:
        """Mean, inverse std, slope and offset of each channel."""
        norm, constants = self._stage.norm, self._constants
        if norm is None:
            constants[2], constants[3] = self._scale, 0.0
            return
        assert norm.running_mean is not None and norm.running_var is not None
        self._norm_weight = _of_rotations(norm.weight, len(norm.running_mean))
        bias = _of_rotations(norm.bias, len(norm.running_mean))
        if not training:
            constants[1] = (norm.running_var + norm.eps).rsqrt()
            constants[2] = self._norm_weight * constants[1]
            constants[3] = bias - norm.running_mean * constants[2]
            return
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        self._kernels.statistics(
            *(x.pointer, *x.lines, self._norm_weight.data_ptr(), bias.data_ptr()),
            *(norm.running_mean.data_ptr(), norm.running_var.data_ptr()),
            *(norm.momentum, norm.eps, self._scale, *self._lines[:4]),
        )

    def _normalise_backward(self, dy: Map, dz: Map) -> Gradients:
        """Write dz; returns the gradients of BatchNorm's parameters."""
        stage, norm, constants = self._stage, self._stage.norm, self._constants
        d_norm: Gradients = [None, None]
        if norm is None:
            constants[4], constants[5:] = self._scale, 0.0
        else:
            x = self._z if stage.pool != "early" else self._pooled
            _, height, width, images = x.shape
            gradients = torch.empty(2, len(self._norm_weight), dtype=constants.dtype)
            self._kernels.gradient_sums(
                *(dy.pointer, self.y.pointer, *self.y.edges, self._pooled.pointer, *dy.lines),
                *(height * width * images, self._scale, self._norm_weight.data_ptr()),
                *self._lines[:2],
                *(gradients[0].data_ptr(), gradients[1].data_ptr(), *self._lines[4:]),
            )
            d_norm = [_summed(of_maps, norm.weight) for of_maps in gradients]
        given = (dy.pointer, self.y.pointer, *self.y.edges)
        rest = (*self._lines[4:], dz.pointer, *dz.edges)
        if stage.pool == "none":
            self._kernels.gradient(*given, self._z.pointer, *dz.lines, *rest)
        elif stage.pool == "late":
            self._kernels.pooled_gradient(
                *given, self._places.data_ptr(), self._z.pointer, *dz.shape, *rest
            )
        else:
            self._kernels.early_gradient(
                *given, self._places.data_ptr(), self._pooled.pointer, *dz.shape, *rest
            )
        return d_norm


def _of_rotations(of_filters: Tensor, channels: int) -> Tensor:
    """A value for each channel, of one for each filter where several channels are one filter's."""
    values = of_filters.detach()
    return values if len(values) == channels else values.repeat(channels // len(values))


def _summed(of_channels: Tensor, of_filters: Tensor) -> Tensor:
    """The gradient of what ``_of_rotations`` took, of that of what it gave."""
    if len(of_channels) == len(of_filters):
        return of_channels
    return of_channels.view(-1, len(of_filters)).sum(0)


def _dropout(rate: float, seed: int, place: int) -> tuple[int, int]:
    """The key and the threshold of a pass; without dropout the key does not matter."""
    return (dropout_key(seed, place), threshold(rate)) if rate > 0 else (0, 0)
