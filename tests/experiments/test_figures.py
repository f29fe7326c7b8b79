"""Pictures of experiments: what they say can be read back from the SVG."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from anomalycli.experiments.figures import plot_erasures, plot_sweep, plot_table
from anomalycli.training.erasure_log import Erasure

SVG = "{http://www.w3.org/2000/svg}"


def texts(path: Path) -> list[str]:
    return [text.text for text in ElementTree.parse(path).iter(f"{SVG}text")]


def points(path: Path) -> int:
    """Markers that are drawn, those of the axes' ticks left out."""
    root = ElementTree.parse(path)
    lines = (group for group in root.iter(f"{SVG}g") if "line2d" in group.get("id", ""))
    return sum("fill-opacity" in use.get("style", "") for group in lines for use in group.iter(f"{SVG}use"))


def test_every_figure_comes_in_three_formats_with_each_seed_as_a_point(tmp_path):
    plot_table([("de-net", [0.7, 0.8, 0.9]), ("$x_1$ \u076f", [0.5])], "AUC", tmp_path / "auc.of.all")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["auc.of.all.pdf", "auc.of.all.png", "auc.of.all.svg"]
    assert points(tmp_path / "auc.of.all.svg") == 4
    assert "de-net" in texts(tmp_path / "auc.of.all.svg") and any(
        "$x_1$" in text for text in texts(tmp_path / "auc.of.all.svg")
    )
    plot_sweep("threshold", [(0.6, [0.7, 0.8]), (0.8, [0.75, 0.85])], "AP", tmp_path / "sweep")
    assert points(tmp_path / "sweep.svg") == 4
    plot_sweep("erasing", [("never", [0.7, 0.8]), ("always", [0.75, 0.85])], "AP", tmp_path / "words")
    assert points(tmp_path / "words.svg") == 4 and "never" in texts(tmp_path / "words.svg")
    plot_sweep("standardise", [(True, [0.7]), (False, [0.75])], "AP", tmp_path / "truth")
    assert "False" in texts(tmp_path / "truth.svg")


def test_a_video_of_which_nothing_was_erased_says_so(tmp_path):
    erasures = [
        Erasure(epoch, epoch, video, 8, segments) for epoch in (1, 2) for video, segments in (("a", (1, 2)), ("b", ()))
    ]
    plot_erasures(erasures, tmp_path / "m.erasing")
    assert texts(tmp_path / "m.erasing.svg").count("nothing erased") == 1
    plot_erasures([], tmp_path / "none")
    assert any("No video" in text for text in texts(tmp_path / "none.svg"))
