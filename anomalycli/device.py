"""Devices and precisions: what this machine has, and what is fast on it."""

import torch

from .errors import UsageError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """auto, cpu, cuda (or cuda:N), mps -> a device that is there; UsageError where it is not."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind = name.split(":")[0]
    if kind not in available:
        raise UsageError(f"There is no device '{name}': give auto, cpu, cuda or mps.")
    if not available[kind]:
        raise UsageError(f"PyTorch finds no '{name}' device on this machine: use --device cpu.")
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> str:
    """Resolve auto to what is fast on `device` without changing the meaning of the features.

    Returns fp32, bf16 or fp16. Raises UsageError for any other name.
    """
    if name != "auto":
        if name not in DTYPES:
            raise UsageError(f"There is no precision '{name}': give auto, {', '.join(DTYPES)}.")
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type == "cpu":
        cpu = torch.cpu.get_capabilities()
        return "bf16" if cpu.get("avx512_bf16") or cpu.get("amx_bf16") else "fp32"
    return "fp32"
