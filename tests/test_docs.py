"""The documentation says what is there, and its examples run."""

import pkgutil
import re
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT

DOCS = ROOT / "docs"


def test_the_reference_of_the_command_line_is_that_of_the_code():
    code = "import make_cli; print(make_cli.PAGE.read_text('utf-8') == make_cli.PAGE.read_text('utf-8')"
    code += ".partition(make_cli.MARK)[0] + make_cli.MARK + make_cli.reference())"
    done = subprocess.run([sys.executable, "-c", code], cwd=DOCS, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n", "run: python docs/make_cli.py"


def test_options_that_the_prose_names_exist():
    from anomalycli.cli import cli

    known = {"--help", "--version"}
    groups = [cli]
    while groups:
        for command in groups.pop().commands.values():
            groups += [command] if hasattr(command, "commands") else []
            known |= {word for parameter in command.params for word in parameter.opts}
    foreign = {"--strict", "--user", "--array", "--cpus-per-task", "--system"}  # of zensical, Docker, SLURM, useradd
    for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md"))):
        text = page.read_text(encoding="utf-8").partition("## Renamed options")[0]
        if page.name == "performance.md":  # also has the options of benchmarks
            continue
        text = re.sub(r"python (?:-m )?(benchmarks|docs)\S*.*?(?<!\\)\n", "", text, flags=re.S)
        named = set(re.findall(r"(?<![\w-])(--[a-z][\w-]+)", text))
        assert named <= known | foreign, (page.name, named - known - foreign)


def test_options_of_commands_in_the_prose_are_theirs():
    from anomalycli.cli import cli

    written, wrong = 0, []
    for page in (*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("weights/*.md"), *ROOT.glob("benchmarks/*")):
        text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8")) if page.suffix in (".md", ".py") else ""
        for name, words in re.findall(rf"(?<![\w/.-])anomalycli ({'|'.join(cli.commands)})\b([^\n`|>#&]*)", text):
            command = cli.commands[name]
            known = {"--help", *(word for option in command.params for word in (*option.opts, *option.secondary_opts))}
            wrong += [
                (page.name, name, word) for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", words) if word not in known
            ]
            written += 1
    assert written > 200
    assert wrong == []


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("weights/*.md")]), ids=str)
def test_links_and_file_names_of_a_page_exist(page):
    text = page.read_text(encoding="utf-8")
    links = {target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target}
    assert [target for target in links if not (page.parent / target).exists()] == []
    for target, anchor in re.findall(r"\]\(([^)#\s:]+\.md)#([^)]+)\)", text):
        headings = re.findall(r"^#+ (.*)$", (page.parent / target).read_text(encoding="utf-8"), re.M)
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target
    files = set(re.findall(r"(?<![\w/.])(?:anomalycli|benchmarks|docs|tests)/[\w/]+\.py", text))
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_the_layout_in_contributing_names_every_package_and_module():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    small = {"__init__.py", "__main__.py", "former_names.py", "sample.py", "version.py"}
    package = ROOT / "anomalycli"
    names = {path.name for path in package.glob("*.py")} | {f"{path.parent.name}/" for path in package.glob("*/*.py")}
    assert [name for name in sorted(names - small) if f"`{name}`" not in text] == []


def test_names_of_modules_and_functions_in_the_prose_exist():
    """`anomalycli.x.y` anywhere, and the functions that docs/paper.md names behind the link to a module."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"), *ROOT.glob("weights/*.md")]
    dotted = {
        name for page in pages for name in re.findall(r"\banomalycli(?:\.\w+)+", page.read_text(encoding="utf-8"))
    }
    table = (DOCS / "paper.md").read_text(encoding="utf-8").split("\n## ")[1]
    module = ""
    for link, name in re.findall(r"\(\.\./(anomalycli/[\w/]+)\.py\)|`([A-Za-z]\w+(?:\.\w+)?)`", table):
        module = link.replace("/", ".") or module
        dotted |= {f"{module}.{name}"} if name else set()
    assert len(dotted) > 30
    groups = {"anomalycli.writers"}  # of entry points, beside those that are packages too
    assert [name for name in sorted(dotted - groups) if not is_there(name)] == []


def is_there(name: str) -> bool:
    """Whether a module or something in one has this name."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def test_the_commands_of_the_readme_are_those_of_a_newcomer():
    """The first block installs and scores the sample; another, which CI runs as it stands, runs the tests."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert blocks[0].strip().endswith("pip install . && anomalycli score --sample --html")
    assert "python3 -m venv" in blocks[0] and len(blocks[0].splitlines()) == 1
    assert "pip install '.[test]' && pytest\n" in blocks


def test_messages_of_the_troubleshooting_page_are_those_of_the_code():
    sources = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "anomalycli").rglob("*") if path.suffix in (".py", ".html")
    )
    messages = re.findall(r"^### `(.*)`$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.M)
    assert len(messages) > 15
    assert [message for message in messages if message not in sources] == []


def test_exit_codes_are_those_of_the_code():
    from anomalycli import errors

    table = dict(re.findall(r"^\| (\d+) \| (.*) \|$", (DOCS / "cli.md").read_text(encoding="utf-8"), re.M))
    codes = (errors.NOTHING_DONE, errors.WRONG_USAGE, errors.SOME_FAILED, errors.INTERRUPTED)
    assert set(table) == {"0", *map(str, codes)}
    assert "some inputs failed" in table[str(errors.SOME_FAILED)]


def test_the_examples_in_python_run(make_video, make_features, tmp_path):
    """Each page's blocks run one after another, with a small model in place of the bundled one."""
    make_video("clip.mp4", 40)
    make_features()
    blocks = "\n".join(
        "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S))
        for page in (ROOT / "README.md", DOCS / "python.md", DOCS / "formats.md")
    )
    first = """
import anomalycli.score as score
from anomalycli.backbones import Extractor
from anomalycli.checkpoint import ModelInfo
from anomalycli.denet import DENet, DENetConfig
kind = Extractor("mc3", "cpu").kind
config = DENetConfig(kind.dim, width=16, heads=2, feedforward=16)
score.Scorer.load = classmethod(lambda cls, path=None: cls(DENet(config), ModelInfo(config, kind), "cpu"))
del score
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", first + blocks],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "clip.srt").exists() and (tmp_path / "out" / "clip.html").exists()
    assert (tmp_path / "models" / "mine.safetensors").exists()


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("zensical", reason="the extra 'docs' is not installed")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "Quick start" in home and "googleapis" not in home
