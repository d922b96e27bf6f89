"""The image, checked without building one: its sources exist, its install line works, its command starts."""

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ipamd.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
IMAGE_TAG = re.compile(r"^[\w./-]+:(?P<tag>[\w.-]+)$")

# Run inside the fresh environment: every module of ours must import with the run-time dependencies alone.
EXTRAS = ("boto3", "botocore", "flask", "flask_cors", "httpx2", "lightkube", "moto", "PIL", "textual", "werkzeug")
"""Libraries that only extras bring."""

IMPORT_ALL = f"""
import importlib, pkgutil, ipamd, cni_plugin
for package in (ipamd, cni_plugin):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", onerror=lambda name: None):
        if not module.name.endswith(".__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as missing:
                if missing.name.partition(".")[0] not in {EXTRAS}:
                    raise
                print("extra:" + module.name)
            else:
                print(module.name)
"""


def instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, rest) of each Dockerfile line, continuation lines joined, comments dropped."""
    text = (ROOT / "Dockerfile").read_text()
    uncommented = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", uncommented)
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word
    ]


def copied_sources() -> list[str]:
    """What COPY takes from the repository; copies between stages are left out."""
    sources = []
    for instruction, rest in instructions():
        if instruction in {"COPY", "ADD"} and "--from=" not in rest:
            words = [w for w in shlex.split(rest) if not w.startswith("--")]
            sources += words[:-1]
    return sources


def arguments() -> dict[str, str]:
    """The build's arguments and their defaults."""
    given = [rest.partition("=") for instruction, rest in instructions() if instruction == "ARG"]
    return {name: default for name, _, default in given}


def install_line() -> str:
    """The one RUN that installs the project."""
    lines = [rest for instruction, rest in instructions() if instruction == "RUN" and '"$VENV/bin/pip"' in rest]
    assert len(lines) == 1, f"want one RUN with pip in the Dockerfile, found {lines}"
    return lines[0]


def test_every_copied_source_exists() -> None:
    """A COPY of something that moved fails the build only where images are built."""
    sources = copied_sources()

    assert sources
    assert [s for s in sources if not (ROOT / s).exists()] == []


def test_every_copied_source_reaches_the_builder() -> None:
    """.dockerignore leaves everything out but what COPY takes, so nothing private enters a layer."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]

    assert lines[0] == "*"
    assert sorted(let_in) == sorted(source.rstrip("/") for source in copied_sources())
    assert not any(fnmatch.fnmatch(source, ".*") for source in let_in)


def test_base_images_have_a_fixed_tag() -> None:
    """An image without a tag, or with the tag that moves, is another one every week."""
    stages = [rest.split() for instruction, rest in instructions() if instruction == "FROM"]
    own = {words[2] for words in stages if len(words) > 2}
    bases = [words[0] for words in stages if words[0] not in own]

    tags = [match["tag"] if (match := IMAGE_TAG.match(base)) else "" for base in bases]

    assert tags
    assert [tag for tag in tags if tag in {"", "latest"}] == []


def test_image_runs_the_daemon_as_an_ordinary_user() -> None:
    """The user is a number, so that Kubernetes can see that it is not root; no port is promised."""
    last = {instruction: rest for instruction, rest in instructions()}

    assert re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", last["USER"])
    assert last["ENTRYPOINT"] == '["ipamd"]'
    assert last["CMD"] == '["run"]'
    assert "EXPOSE" not in last


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_install_line_makes_an_environment_in_which_everything_starts(tmp_path: Path) -> None:
    """The Dockerfile's own line, run on the copied sources alone; help needs none of the extras."""
    source, environment = tmp_path / "src", tmp_path / "venv"
    source.mkdir()
    for name in copied_sources():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    outside = {**inherited, "VENV": str(environment), "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **arguments()}

    subprocess.run(["sh", "-euc", install_line()], cwd=source, env=outside, check=True, timeout=240)

    def run(*command: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """A command of the fresh environment, away from any source tree."""
        inside = {**inherited, "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}", **extra}
        given = '{"cniVersion": "1.0.0", "name": "aws-cni", "type": "aws-cni"}'
        return subprocess.run(
            command, cwd=tmp_path, env=inside, input=given, capture_output=True, text=True, timeout=60
        )

    assert run(str(environment / "bin" / "python"), "-c", "import ipamd.k8s.client").returncode == 0
    bare = [str(environment / "bin" / "python"), "-m", "pip", "uninstall", "-q", "-y", "lightkube", "httpx2"]
    assert run(*bare).returncode == 0
    modules = run(str(environment / "bin" / "python"), "-c", IMPORT_ALL)
    assert modules.returncode == 0, modules.stderr
    assert "ipamd.cli" in modules.stdout.split()
    for command in COMMANDS:
        helped = run(str(environment / "bin" / "ipamd"), command, "--help")
        assert helped.returncode == 0, f"{command} asks for an extra before it is told to use it: {helped.stderr}"
    usage = run(str(environment / "bin" / "ipamd"), "--help")
    assert usage.returncode == 0, usage.stderr
    assert "run" in usage.stdout
    version = run(str(environment / "bin" / "aws-cni"), CNI_COMMAND="VERSION")
    assert version.returncode == 0, version.stderr
    assert "supportedVersions" in version.stdout
