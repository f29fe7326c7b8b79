"""Scores for every frame of a video or of its features, and events."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .backbones import Extractor
from .backbones.base import registered_name
from .calibration import Calibration, ScoredBy
from .checkpoint import ModelInfo, bundled_for, fingerprint, judge_of, load_bundled, load_model
from .choices import SCORING_MODES
from .device import pick_device
from .errors import StorageError, UsageError
from .events import EventRule, find_events
from .extraction.job import calibrate, check_stored
from .extraction.local_engine import OnClips, extract_video, kept_features, refine_video
from .extraction.skip import Skip as Skip
from .extraction.skip import rising
from .features.files import PUBLISHED, SUFFIX, Features, load_features
from .features.interpolation import with_only
from .features.score_cache import VideoScores, load_scores, scores_beside
from .inference import score_clips, score_windows
from .media.decoder import Decoder
from .media.start_time import StartRule
from .result import Result
from .segments import pool, spread

log = logging.getLogger(__name__)
LONG = 3  # clips per segment beyond which `auto` takes windows: at 25 frames/s, 61 s with 32 segments, 123 s with 64


class Scorer:
    """A model that scores videos. `Scorer.load()` makes one."""

    def __init__(
        self,
        model: Any,
        info: ModelInfo,
        device: str = "auto",
        precision: str = "auto",
        weights: Path | None = None,
        decoder: Decoder | None = None,
        skip: Skip = Skip(),
    ):
        self.info = info
        self.device = pick_device(device)
        self.precision, self.weights = precision, weights
        self.model = model.to(self.device).eval()
        self.fingerprint = fingerprint(self.model)
        self._extractor: Extractor | None = None
        self._decoder = decoder or Decoder()
        self._skip = skip

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_extractor": None}  # another process loads its own

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        weights: str | Path | None = None,
        decoder: Decoder | None = None,
        skip: Skip = Skip(),
    ) -> "Scorer":
        """Load the model at `path`, the bundled model of that name (fights, fights-mc3), or without `path` the default.

        device: auto, cpu, cuda, cuda:N or mps. precision: of the backbone: auto, fp32, bf16, fp16 or int8.
        weights: a file of the backbone's weights, if not the published ones. decoder: a decoder to use, which stays
        open; by default the scorer starts its own. skip: clips that the network is not run on.

        Raises CheckpointError where `path` is no model, UsageError where there is no such device.
        """
        model, info = load_bundled() if path is None else load_model(Path(path))
        return cls(model, info, device, precision, Path(weights) if weights else None, decoder, skip)

    def score(
        self,
        path: str | Path,
        mode: str = "auto",
        rule: EventRule | Calibration | None = None,
        on_clips: OnClips | None = None,
        cache: Path | None = None,
        start_rule: StartRule = StartRule(),
    ) -> Result:
        """Score a video, or a feature file (.npz).

        mode: "video" divides the whole video into the model's segments (64 in the paper, 32 in the bundled model), as
        the paper does; "window" scores windows of as many clips that overlap by half, so that short events in a long
        video are not averaged away; "auto" takes windows for videos of more than LONG clips per segment.
        rule: overrides the model's own; a calibration of the scene (`calibration.load`) has one.
        on_clips: called with the path, the clips done and the clips in all (None: not known).
        cache: where the features of the video are kept, as a feature file, and its scores beside it. They are used if
        they are of this very video, with these settings and, for scores, this model; an interrupted run resumes from
        them. For a feature file, only the scores are kept.
        start_rule: how the result's `start` is found: by the file's name, or its creation time.

        Raises VideoError or FeatureError where there is nothing to read, UsageError where there is no
        such mode, the features are not of the kind that the model knows, or the calibration is of another model.
        """
        check_mode(mode)
        calibration = rule if isinstance(rule, Calibration) else None
        if calibration:
            calibration.check(self.scored_by(mode))
            rule = calibration.rule
        path = Path(path)
        rule = rule if isinstance(rule, EventRule) else self.info.events
        with self._decoder.turn:  # threads that share a scorer wait for each other
            found = self._scores(path, mode, rule.start_threshold, on_clips, cache)
        scores = found.frames()
        events = find_events(scores, found.fps, rule, found.times)
        start = start_rule.start_of(path.parent / Path(found.source).name, found.creation_time)
        return Result(
            path,
            scores,
            found.fps,
            events,
            found.mode,
            rule,
            warning=found.warning,
            note=found.note,
            times=found.times,
            start=start,
            calibration=calibration,
            still=found.frames_of(found.still),
            interpolated=found.frames_of(found.interpolated),
        )

    def _scores(self, path: Path, mode: str, level: float, on_clips: OnClips | None, cache: Path | None) -> VideoScores:
        """The scores of a video or a feature file, from the cache where they are there; events begin at `level`."""
        kept_at = cache and scores_beside(cache)
        is_video = path.suffix.lower() != SUFFIX
        if is_video and self.precision == "int8" and self.extractor.calibration_clips:
            self.calibrate([path])
        identity = self._identity(path, mode, level) if kept_at else {}
        if kept_at and (kept := load_scores(kept_at, identity)):
            log.debug(f"{path}: scores of an earlier run are used, {kept_at}")
            return dataclasses.replace(kept, source=path.name if is_video else kept.source)
        if is_video:
            features = self._extracted(path, on_clips, cache)
            if features.interpolated:
                features = self._refined(features, path, mode, level, on_clips, cache)
        else:
            features = load_features(path)
            self.check_features(path, features)
        found = VideoScores.of(features, *self.score_segments(features, mode))
        rate = "variable, mean " if features.times is not None else ""
        rate += f"{features.fps:.3f} frames/s"
        log.debug(f"{path}: {len(features.visual)} clips, {rate}, {features.precision}, {found.mode}")
        if kept_at:
            try:
                found.save(kept_at, identity)
            except StorageError as error:
                log.debug(f"{path}: its scores are not kept. {error}")
        return found

    def _identity(self, path: Path, mode: str, level: float) -> dict[str, Any]:
        """What the scores of a file depend on, for the cache."""
        stat = path.stat() if path.exists() else None
        is_video = path.suffix.lower() != SUFFIX
        refined = {"level": level} if is_video and self._skip.every > 1 else {}
        return refined | {
            "model": self.fingerprint,
            "settings": repr(
                (self.info.method, self.info.settings, self.info.kind, self.info.members, *self.info.voters)
            ),
            "device": self.device.type,
            "mode": mode,
            "file": stat and [stat.st_size, stat.st_mtime_ns],
            "features": self.extractor.identity() if is_video else None,
        }

    def _extracted(self, path: Path, on_clips: OnClips | None, cache: Path | None) -> Features:
        """The features of a video, from the cache where they are there."""
        if kept := cache and kept_features(cache, path, self.extractor):
            log.debug(f"{path}: features of an earlier run are used, {cache}")
            return kept
        return _kept_if_possible(partial(extract_video, path, self.extractor, on_clips, self._decoder), path, cache)

    def _refined(
        self, features: Features, path: Path, mode: str, level: float, on_clips: OnClips | None, cache: Path | None
    ) -> Features:
        """Features of every Nth clip and of those around which scores rise, the others interpolated.

        What is computed depends on the features of every Nth clip alone, whatever an earlier run computed besides.
        """
        every, length = self._skip.every, features.kind.clip_length
        coarse = range(0, len(features.visual), every)
        scores, _ = self.score_features(with_only(features, coarse), mode)
        middles = np.minimum(np.arange(len(features.visual)) * length + length // 2, features.n_frames - 1)
        wanted = rising(scores[middles], every, level)
        if missing := tuple(sorted({*wanted} & {*features.interpolated})):
            refine = partial(refine_video, features, missing, path, self.extractor, on_clips, self._decoder)
            features = _kept_if_possible(refine, path, cache)
        return with_only(features, sorted({*coarse, *wanted}))

    def calibrate(self, paths: Sequence[Path]) -> str | None:
        """At int8: calibrate the extractor on these videos, not on the first that is scored, or check a stored network.

        Returns a sentence on the result, or None if nothing was to be done or the stored network is close to fp32.
        """
        if self.precision != "int8" or not paths:
            return None
        judge = judge_of(self.model, self.info)
        return calibrate(paths, self.extractor, judge) or check_stored(paths, self.extractor, judge)

    def scored_by(self, mode: str = "auto") -> ScoredBy:
        """What scores in this mode depend on, for calibrations."""
        return ScoredBy(self.fingerprint, self.info.kind.backbone, mode)

    def score_features(self, features: Features, mode: str = "auto") -> tuple[np.ndarray, str]:
        """Scores of the frames, float32 (n_frames,), and the mode that was used; crops are averaged.

        Scores are interpolated between the middles of segments. Raises UsageError where there is no such mode.
        """
        scores, mode = self.score_segments(features, mode)
        return spread(scores, features.n_frames, features.kind.clip_length), mode

    def score_segments(self, features: Features, mode: str = "auto") -> tuple[np.ndarray, str]:
        """Scores of the segments, or in windows of the clips, float32 (n,), and the mode that was used.

        Crops are averaged. Raises UsageError where there is no such mode.
        """
        check_mode(mode)
        x = features.joined()  # (n_clips, n_crops, D)
        segments = self.info.settings.segments
        if mode == "auto":
            mode = "window" if len(x) > LONG * segments else "video"
        if mode == "video" or len(x) <= segments:
            return score_clips(self.model, pool(x, segments), self.device), mode
        return score_windows(self.model, x, segments, self.device), mode

    @property
    def extractor(self) -> Extractor:
        """The backbone that the model was trained on, with as many crops, loaded when a video first needs it."""
        if self._extractor is None:
            kind = self.info.kind
            if kind.backbone == PUBLISHED:
                raise UsageError(
                    "The model was trained on published features, which do not say how they were made, so it cannot "
                    "score a video. It can be evaluated on features of that kind. To score videos, train a model on "
                    "features that were extracted with a backbone of this tool."
                )
            if not registered_name(kind.backbone):
                raise UsageError(
                    f"The model was trained on features of the backbone '{kind.backbone}', which is not registered "
                    "here: install the package that offers it as an entry point."
                )
            extractor = Extractor(
                kind.backbone,
                str(self.device),
                self.precision,
                kind.size,
                crops=self.info.training.crops_seen,
                audio=kind.audio,
                weights=self.weights,
            )
            if conflict := kind.conflict(extractor.kind, "The model was trained with", "the backbone here has"):
                raise UsageError(f"{conflict}: give the weights that the model was trained with.")
            extractor.still, extractor.every = self._skip.still, self._skip.every
            self._extractor = extractor
        return self._extractor

    def check_features(self, path: Path, features: Features) -> None:
        """Raises UsageError where the model does not know features of this kind."""
        if self.info.kind.audio and not features.kind.audio:
            raise UsageError(
                f"{path}: it has no features of sound, and the model needs them ({self.info.kind.audio}). Extract it "
                "again with sound, or use a model that was trained without."
            )
        if conflict := features.kind.conflict(self.info.kind, "it has", "the model was trained with"):
            other = bundled_for(features.kind)
            or_else = f", or use the bundled model {other}, which was trained on such features" if other else ""
            raise UsageError(
                f"{path}: {conflict}. Extract it again with the settings that the model was trained with{or_else}."
            )


def _kept_if_possible(compute: Callable[[Path | None], Features], path: Path, cache: Path | None) -> Features:
    """The features that `compute` makes and keeps in `cache`; where that has no room, once more without."""
    try:
        return compute(cache)
    except StorageError as error:
        log.debug(f"{path}: its features are not kept. {error}")
        return compute(None)


def check_mode(mode: str) -> None:
    """Raises UsageError where there is no such mode of scoring."""
    if mode not in SCORING_MODES:
        raise UsageError(f"There is no scoring mode '{mode}': choose from {', '.join(SCORING_MODES)}.")
