"""Faster inference of convolutional networks with the same results."""

import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu6
from torch.nn.utils.fusion import fuse_conv_bn_eval

T = TypeVar("T")
CONVOLUTIONS = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))


def fold_batch_norm(net: nn.Module) -> None:
    """Make each convolution and the normalisation that follows it among its siblings one convolution, in place.

    At inference they are one affine map; in fp32, before the weights are rounded, it costs no accuracy.
    """
    children = list(net.named_children())
    for (conv_name, conv), (norm_name, norm) in pairwise(children):
        if any(isinstance(conv, one) and isinstance(norm, other) for one, other in CONVOLUTIONS):
            setattr(net, conv_name, fuse_conv_bn_eval(cast(Any, conv), cast(Any, norm)))
            setattr(net, norm_name, nn.Identity())
    for _, child in children:
        fold_batch_norm(child)


def round_kernels(net: nn.Module, dtype: torch.dtype) -> None:
    """Round the weights of all 2D convolutions larger than 1x1 to `dtype`, in place, so that each kernel's sum stays.

    The error of one weight is added to the next smaller one of its kernel. Kernels of the first layers look for edges:
    their sum is about 0, and what rounding adds to it answers to the brightness of the whole picture. The lowest
    cosine of `lite` at bf16 to fp32 is .9966 with the nearest weights and .9991 with these.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            kernels = module.weight.detach().double().flatten(2)  # (out, in, places)
            order = kernels.abs().argsort(2, descending=True)
            wanted, rounded = kernels.gather(2, order), torch.zeros_like(kernels)
            error = torch.zeros_like(kernels[:, :, 0])
            for i in range(kernels.shape[2]):
                rounded[:, :, i] = (wanted[:, :, i] + error).to(dtype)
                error += wanted[:, :, i] - rounded[:, :, i]
            result = torch.zeros_like(kernels).scatter_(2, order, rounded)
            module.weight.data.copy_(result.view_as(module.weight))


def channels_last(net: nn.Module) -> None:
    """Lay the weights of all convolutions out with the channels last, in place."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        elif isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


class ConvReLU6(nn.Module):
    """A 2D convolution with ReLU6 in one pass over memory, by oneDNN: the same numbers as one after the other."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        return _conv_relu6(x, conv.weight, conv.bias, conv.padding, conv.stride, conv.groups)


def _conv_relu6(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Any, stride: Any, groups: int) -> Tensor:
    fused = torch.ops.mkldnn._convolution_pointwise  # what torch.compile makes of the two
    return fused(x, weight, bias, padding, stride, (1, 1), groups, "hardtanh", [0.0, 6.0], "")


@lru_cache
def can_fuse(dtype: torch.dtype) -> bool:
    """Whether this processor and this torch have `ConvReLU6` in `dtype`."""
    if platform.machine().lower() not in ("x86_64", "amd64"):  # elsewhere oneDNN is not faster
        return False
    x, weight = torch.full((1, 8, 4, 4), 2.0, dtype=dtype), torch.eye(8, dtype=dtype)[:, :, None, None]
    bias = torch.linspace(-4, 8, 8, dtype=dtype)
    try:
        fused = _conv_relu6(x, weight, bias, (0, 0), (1, 1), 1)
    except (AttributeError, RuntimeError, TypeError):  # not built in, no instructions for it, or another signature
        return False
    return torch.equal(fused, relu6(conv2d(x, weight, bias)))


def fuse_relu6(net: nn.Module, dtype: torch.dtype) -> None:
    """Make each 2D convolution and the ReLU6 that follows it among its siblings one module, in place, where that runs.

    What `fold_batch_norm` left of a normalisation may be between them.
    """
    if not can_fuse(dtype):
        return
    children = [(name, child) for name, child in net.named_children() if not isinstance(child, nn.Identity)]
    for (conv_name, conv), (relu_name, relu) in pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(relu, nn.ReLU6):
            setattr(net, conv_name, ConvReLU6(conv))
            setattr(net, relu_name, nn.Identity())
    for _, child in children:
        fuse_relu6(child, dtype)


def side_by_side(run: Callable[[T], Tensor], inputs: Sequence[T]) -> list[Tensor]:
    """`run` of each input, each on one thread, as many at once as torch has threads on a CPU.

    Threads that share one small layer wait for one another; here they do not.
    """
    threads = torch.get_num_threads()
    mode = torch.is_inference_mode_enabled()  # of this thread alone, like the number of threads

    def one(x: T) -> Tensor:
        with torch.inference_mode(mode):
            return run(x)

    if threads == 1:
        return [one(x) for x in inputs]
    try:
        with ThreadPoolExecutor(min(threads, len(inputs)), initializer=partial(torch.set_num_threads, 1)) as pool:
            return list(pool.map(one, inputs))
    finally:
        torch.set_num_threads(threads)  # threads that begin later take the number that was set last
