"""The methods that can be trained: DE-Net, its ablations, its peers, and those of other packages.

`METHODS` are the built-in ones. A package adds one by an entry point of the group `anomalycli.methods`.
"""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch

from ..errors import UsageError, cause
from .base import Method, MethodSettings, MethodType
from .de_net import DENetMethod
from .linear import Linear
from .mil_rank import MILRank
from .prepared import Ensemble, Prepared, Vote
from .rtfm import RTFM

__all__ = [
    "METHODS",
    "Method",
    "MethodSettings",
    "MethodType",
    "build_method",
    "build_vote",
    "find_method",
    "method_names",
]

GROUP = "anomalycli.methods"


def _type(name: str, built: Any, **fixed: str) -> MethodType:
    return MethodType(name, built, built.Settings, fixed, getattr(built, "TRAINING", {}))


METHODS = {
    kind.name: kind
    for kind in (
        _type("linear", Linear),
        _type("mil-rank", MILRank),
        _type("rtfm", RTFM),
        # Table 4 of the paper
        _type("baseline", DENetMethod, erasing="never", temporal="none"),
        _type("mstm", DENetMethod, erasing="never", temporal="mstm"),
        _type("mstm+eo", DENetMethod, erasing="always", temporal="mstm"),
        _type("de-net", DENetMethod),
        # Table 5
        _type("rtfm-mtn", DENetMethod, erasing="dynamic", temporal="mtn"),
        _type("ms-tct", DENetMethod, erasing="dynamic", temporal="ms-tct"),
        _type("ms-tct-full", DENetMethod, erasing="dynamic", temporal="ms-tct-full"),
    )
}


def method_names() -> list[str]:
    """All methods, the built-in ones first."""
    return [*METHODS, *sorted({point.name for point in entry_points(group=GROUP)} - METHODS.keys())]


def find_method(name: str) -> MethodType:
    """The method of this name. Raises UsageError where there is none, or where its package does not load."""
    if name in METHODS:
        return METHODS[name]
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _load(point)
    raise UsageError(f"There is no method '{name}'; there are {', '.join(method_names())}.")


def build_method(name: str, settings: Any, standardised: bool = False, members: int = 1) -> Any:
    """The network of a checkpoint, an nn.Module, to load its tensors into: one of several members or alone."""
    networks = [find_method(name).build(settings) for _ in range(members)]
    if standardised:
        moments = torch.empty(2, settings.feature_dim)
        networks = [Prepared(network, *moments) for network in networks]
    return Ensemble(networks) if members > 1 else networks[0]


def build_vote(voters: Sequence[Any]) -> Vote:
    """The network of a checkpoint in which several methods vote, to load its tensors into."""
    return Vote(voters, *torch.empty(2, len(voters)))


def _load(point: EntryPoint) -> MethodType:
    try:
        return _type(point.name, point.load())
    except Exception as error:  # whatever the other package raises while it is imported
        raise UsageError(f"The method '{point.name}' of {point.value} does not load ({cause(error)}).") from error
