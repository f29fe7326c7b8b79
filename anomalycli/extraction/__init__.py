"""From videos to feature files, on one machine or on a Ray cluster."""
