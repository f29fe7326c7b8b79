"""Names that settings choose from, apart from the modules that use them, which are slow to import."""

SCORING_MODES = ("auto", "video", "window")  # see `Scorer.score`
LAYOUTS = ("npz", "xd", "rtfm")  # of feature files, see features/layouts.py
