"""`ipamd lab apiserver` as a process: its ready line, its kubeconfig, its end, and whom it does not serve."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from ipamd.cli.lab import main
from ipamd.k8s.lab.kubeconfig import MARK

from .apiserver import PATIENCE, Api, serving


@pytest.fixture(scope="module")
def url() -> object:
    with serving("--seed", "7") as (line, _):
        yield line["url"]


def test_ready_line_names_url_and_kubeconfig_and_sigterm_ends_it(tmp_path: Path) -> None:
    """Exit code 0, and the kubeconfig is gone; it was readable by its owner only."""
    path = tmp_path / "deep" / "config"
    with serving("--kubeconfig", str(path)) as (line, process):
        mode = path.stat().st_mode & 0o777
        answer = httpx2.get(f"{line['url']}/version").json()
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE)

    assert line == {"ready": True, "url": line["url"], "kubeconfig": str(path)}
    assert line["url"].startswith("http://127.0.0.1:")
    assert (code, mode, path.exists()) == (0, 0o600, False)
    assert answer["major"] == "1"


def test_open_watches_do_not_hold_it_up() -> None:
    """They end as if their time were up."""
    with serving() as (line, process), httpx2.stream("GET", f"{line['url']}/api/v1/pods?watch=1") as watch:
        process.send_signal(signal.SIGTERM)
        rest = list(watch.iter_lines())
        code = process.wait(PATIENCE)

    assert (rest, code) == ([], 0)


def test_another_kubeconfig_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A developer's own file stays; one of an earlier lab is replaced."""
    own, old = tmp_path / "own", tmp_path / "old"
    own.write_text("apiVersion: v1\n")
    old.write_text(MARK)

    code = main(["apiserver", "--kubeconfig", str(own)])
    with serving("--kubeconfig", str(old)) as (line, _):
        written = old.read_text()

    assert code == 1 and own.read_text() == "apiVersion: v1\n"
    assert "another file" in capsys.readouterr().err
    assert line["url"] in written


def test_taken_port_is_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 with the port."""
    port = url.rsplit(":", 1)[1]

    assert main(["apiserver", "--port", port]) == 1
    assert f"--port {port}:" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["nothing"], ["apiserver", "--port", "70000"], ["apiserver", "--window", "0"],
                                   ["apiserver", "--bookmark-seconds", "nan"]])  # fmt: skip
def test_wrong_usage_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything listens."""
    with pytest.raises(SystemExit) as raised:
        main(words)

    assert raised.value.code == 2 and capsys.readouterr().err


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example:80"}, {"Origin": "https://evil.example"}]
)
def test_web_pages_are_not_served(url: str, headers: dict[str, str]) -> None:
    """A page whose name was made to point here, or that posts across sites, gets 403."""
    answer = httpx2.post(f"{url}/api/v1/namespaces", json={"metadata": {"name": "owned"}}, headers=headers)

    assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden")


@pytest.mark.parametrize(
    "method, path, content, code",
    [
        ("POST", "/api/v1/nodes", b"{", 400),
        ("POST", "/api/v1/nodes", b"[]", 400),
        ("POST", "/api/v1/nodes", b'{"metadata":' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
        ("POST", "/api/v1/nodes", b'{"metadata":[]}', 400),
        ("POST", "/api/v1/nodes", b'{"metadata":{"name":"a"},"spec":7}', 400),
        ("POST", "/api/v1/nodes", b'{"metadata":{"name":"a","finalizers":7}}', 400),
        ("POST", "/api/v1/nodes", b" " * (4 << 20), 413),
        ("POST", "/api/v1/pods", b'{"metadata":{"name":"a"}}', 405),
        ("PUT", "/api/v1/nodes", b"{}", 405),
        ("GET", "/api/v1/nonsense", b"", 404),
        ("GET", "/apis/nonsense/v1", b"", 404),
        ("GET", "/api/v1/nodes/a/b/c/d", b"", 404),
        ("GET", "/nonsense", b"", 404),
        ("GET", "/api/v1/nodes?limit=-1", b"", 400),
        ("GET", "/api/v1/nodes?labelSelector=a%20b%20c", b"", 400),
        ("GET", "/api/v1/nodes?resourceVersion=x", b"", 400),
        ("GET", "/api/v1/nodes?fieldSelector=x", b"", 400),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_breaks(
    url: str, method: str, path: str, content: bytes, code: int
) -> None:
    """Never 500, never a closed connection."""
    headers = {"Content-Type": "application/json"}

    answer = httpx2.request(method, f"{url}{path}", content=content, headers=headers, timeout=PATIENCE)

    assert answer.status_code == code
    assert httpx2.get(f"{url}/readyz").text == "ok"


def test_same_requests_make_the_same_objects() -> None:
    """Identities come from the seed."""
    made = []
    for _ in range(2):
        with serving("--seed", "7") as (line, _process):
            url = f"{line['url']}/api/v1/namespaces/default/configmaps"
            made.append(httpx2.post(url, json={"metadata": {"generateName": "a-"}}).json()["metadata"])

    assert (made[0]["uid"], made[0]["name"]) == (made[1]["uid"], made[1]["name"])


def test_compaction_can_be_asked_for(url: str) -> None:
    """The lab's own path: afterwards older versions are 410."""
    old = httpx2.get(f"{url}/api/v1/namespaces").json()["metadata"]["resourceVersion"]
    httpx2.post(f"{url}/api/v1/namespaces", json={"metadata": {"name": "compacted"}})
    httpx2.post(f"{url}/lab/compact")

    watched = httpx2.get(f"{url}/api/v1/namespaces?watch=1&resourceVersion={old}").json()
    listed = httpx2.get(f"{url}/api/v1/namespaces?resourceVersion={old}&resourceVersionMatch=Exact")

    assert (watched["type"], watched["object"]["code"]) == ("ERROR", 410)
    assert (listed.status_code, listed.json()["reason"]) == (410, "Expired")


def test_namespace_takes_what_is_in_it_along(url: str) -> None:
    """At once, as no controller is waited for; a finalizer holds it back."""
    spaces, inside = f"{url}/api/v1/namespaces", f"{url}/api/v1/namespaces/going/configmaps"
    httpx2.post(spaces, json={"metadata": {"name": "going"}})
    httpx2.post(inside, json={"metadata": {"name": "held", "finalizers": ["example.com/wait"]}})
    httpx2.post(inside, json={"metadata": {"name": "free"}})

    phase = httpx2.delete(f"{spaces}/going").json()["status"]["phase"]
    more = httpx2.post(inside, json={"metadata": {"name": "late"}})
    left = [item["metadata"]["name"] for item in httpx2.get(inside).json()["items"]]
    merge = {"Content-Type": "application/merge-patch+json"}
    httpx2.patch(f"{inside}/held", content=json.dumps({"metadata": {"finalizers": None}}), headers=merge)

    assert (phase, more.status_code, left) == ("Terminating", 403, ["held"])
    assert httpx2.get(f"{spaces}/going").status_code == 404


def test_help_needs_no_server(api: Api) -> None:
    """`ipamd lab --help` and `ipamd lab apiserver --help`."""
    for words in (["lab", "--help"], ["lab", "apiserver", "--help"]):
        ran = subprocess.run([sys.executable, "-m", "ipamd", *words], capture_output=True, text=True, timeout=PATIENCE)
        assert ran.returncode == 0 and "apiserver" in ran.stdout
    assert api.url
