"""The paper's settings for each of its data sets (Sec. 4.1).

Not in the paper: `steps`, about 50 epochs of XD-Violence's 1,905 abnormal videos, and `crops`. All training videos are
trained on: none is held out for validation.
"""

_PAPER = {
    "segments": 64,
    "scales": 3,
    "heads": 8,
    "layers": 1,
    "dropout": 0.6,
    "batch": 32,
    "lr": 1e-5,
    "weight_decay": 1e-3,
    "threshold": 0.8,
    "alpha1": 1.0,
    "alpha2": 1e-4,
    "lambda1": 1.0,
    "lambda2": 1.0,
    "steps": 3000,
    "crops": "draw",
    "validation": 0.0,  # all training videos are trained on
}

PRESETS = {
    "xd-violence": _PAPER | {"feature_dim": 1024},
    "xd-violence-audio": _PAPER | {"feature_dim": 1152},  # 1024 of I3D, 128 of VGGish
    "ucf-crime": _PAPER | {"feature_dim": 2048},
    "tad": _PAPER | {"feature_dim": 2048},
}
