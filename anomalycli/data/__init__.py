"""Labels, bags, ground truth and splits."""

CROP_POLICIES = ("mean", "draw", "all", "together")
