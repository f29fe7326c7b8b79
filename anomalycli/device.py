"""Devices, precisions and memory of this machine."""

import ctypes
from contextlib import suppress
from functools import lru_cache

import torch

from .errors import UsageError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
KEPT, LARGEST = 128 << 20, 32 << 20  # bytes
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device that `name` (auto, cpu, cuda, cuda:N or mps) stands for. Raises UsageError for one that is absent."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind = name.split(":")[0]
    if kind not in available:
        raise UsageError(f"There is no device '{name}'; choose auto, cpu, cuda, cuda:N or mps.", "device")
    if not available[kind]:
        raise UsageError(f"PyTorch finds no '{name}' device on this machine. The device cpu is always there.", "device")
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> str:
    """Precision for `device`: fp32, bf16 or fp16; auto is the fastest whose features still agree with those of fp32.

    Raises UsageError for any other name.
    """
    if name != "auto":
        if name not in DTYPES:
            raise UsageError(f"There is no precision '{name}'; choose auto, {', '.join(DTYPES)}.", "precision")
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type == "cpu":
        cpu = torch.cpu.get_capabilities()
        return "bf16" if cpu.get("avx512_bf16") or cpu.get("amx_bf16") else "fp32"
    return "fp32"


@lru_cache
def keep_freed_memory() -> None:
    """Have the C library keep what is freed, up to KEPT bytes, for the next layer.

    It would give the pages back to the system after many layers, which clears them before it lends them again. That is
    glibc's default; other libraries are left as they are.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, KEPT)
