import dataclasses
import re
import subprocess
import sys

import pytest

from anomalycli.cli import cli, sentence

HEAVY = {
    "torch",
    "torchvision",
    "torchvggish",
    "numpy",
    "scipy",
    "sklearn",
    "av",
    "decord",
    "matplotlib",
    "PIL",
    "asyncio",
}
NEVER = {"torchvision", "pytorchvideo", "numba", "soundfile", "scipy", "sklearn", "matplotlib", "PIL", "av", "decord"}


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_of_every_command_imports_nothing_heavy():
    code = f"""
import sys
import anomalycli
from anomalycli.cli import cli, sentence
for words in [], *([name] for name in cli.commands):
    cli.main([*words, "--help"], standalone_mode=False)
assert not {HEAVY} & {{*sys.modules}}, {HEAVY} & {{*sys.modules}}
"""
    told = python(code)
    assert "anomalycli score clip.mp4 --plot" in told and "--encoder-dropout" in told


def test_score_starts_its_decoder_before_it_imports_torch(tmp_path):
    (tmp_path / "clip.mp4").touch()
    code = f"""
import sys
from anomalycli.cli import cli, sentence
from anomalycli.media.decoder import Decoder
def start(self):
    sys.exit("after torch" if "torch" in sys.modules else 0)
Decoder.start = start
cli.main(["score", {str(tmp_path / "clip.mp4")!r}])
sys.exit("it was not started")
"""
    python(code)


def test_scoring_imports_what_it_needs_and_no_more():
    """No networks of other libraries for the backbones that have their own, and no decoders in this process."""
    code = f"""
import sys
from anomalycli import Scorer
from anomalycli.backbones.mc3 import MC3
from anomalycli.backbones.vggish import VGGish
Scorer.load().extractor
MC3().load()
VGGish()
assert not {NEVER} & {{*sys.modules}}, {NEVER} & {{*sys.modules}}
assert "torchvggish" not in sys.modules  # whoever imports it gets all of it
"""
    python(code)


@pytest.mark.parametrize("command", cli.commands.values(), ids=lambda command: command.name)
def test_every_command_and_option_has_help(command):
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name


def test_every_setting_of_training_is_a_flag_with_its_true_default():
    from anomalycli.methods.de_net import DENetSettings
    from anomalycli.training.config import TrainConfig

    flags = {parameter.name: parameter for parameter in cli.commands["train"].params}
    for field in (*dataclasses.fields(DENetSettings), *dataclasses.fields(TrainConfig)):
        if field.name == "feature_dim":  # it is read from the features
            continue
        assert field.name in flags, field.name
        if field.default is not None:
            assert flags[field.name].show_default == str(field.default)
    assert list(flags["keep"].type.choices) == ["last", "validation", "test"]
    assert flags["width"].type.name == "integer" and flags["lr"].type.name == "float"


def test_a_bug_is_a_sentence_and_debug_gives_the_traceback(run, tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "labels.csv").write_bytes(b"video,label\n\xff\xfe,1\n")
    (tmp_path / "features" / "x.npz").touch()
    quiet = run("train", "features", code=None)
    assert quiet.returncode in (1, 2)
    assert "Traceback" not in quiet.stderr
    assert quiet.stderr.startswith("Error:")
    assert "Traceback" in run("train", "features", code=1, ANOMALYCLI_DEBUG="1").stderr


def test_wrong_words_are_usage_errors(run):
    assert "No such command" in run("scroe", code=2).stderr
    assert "No such option" in run("score", "x.mp4", "--plott", code=2).stderr
    assert re.match(r"anomalycli \d+\.\d+\.\d+\n", run("--version").stdout)


def test_libraries_that_cannot_be_loaded_are_no_bug_of_this_tool():
    words = sentence(ImportError("libtorch_cuda.so: failed to map segment from shared object"))  # under ulimit -v
    assert words.startswith("There is not enough memory")
    words = sentence(ImportError("numpy.core.multiarray failed to import"))
    assert "numpy.core.multiarray failed to import" in words and "Install anomalycli again" in words
