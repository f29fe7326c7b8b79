import dataclasses
import re
import subprocess
import sys

import pytest

from anomalycli.cli import cli


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from anomalycli.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'av', 'decord', 'matplotlib', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "anomalycli score clip.mp4 --plot" in done.stdout


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
