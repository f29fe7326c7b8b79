"""Labels, bags, ground truth and splits."""
