"""`ipamd subnet`: what it prints and draws, what it refuses, and its exit codes."""

from __future__ import annotations

import io
import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image, ImageColor

from ipamd.cli import subnet_tables
from ipamd.ec2.subnets import heatmap
from ipamd.ec2.subnets.occupation import Occupation
from ipamd.ec2.subnets.png import SCALE, png
from tests.cli.conftest import Run
from tests.subnet.lots import EXAMPLE, eni, lot, reserved, told

SVG = "{http://www.w3.org/2000/svg}"


def test_people_see_the_figures_the_map_and_who_breaks_what(ipamd: Run) -> None:
    """W-33, W-40, L-34: without colour where there is no terminal; exit code 1 for no block."""
    said = ipamd("subnet", EXAMPLE)

    assert (said.code, said.err) == (1, "")
    for text in (
        "free addresses            237",
        "free /28 blocks           0",
        "10.0.1.0  4111111111111111",
        "RDSNetworkInterface",
        "leaked by the CNI",
        "10.0.1.224/28     15   10.0.1.230 eks control plane",
        "finding no-free-block",
        "without i-0aaaaaaaaaaaaaaaa there were 4 more",
        "pre-flight: fails",
    ):
        assert text in said.out
    assert "\x1b" not in said.out


def test_what_ifs_show_both_figures(ipamd: Run) -> None:
    """--drain by node name and by instance, --reserve: as after them, with now beside it; the exit code is of then."""
    said = ipamd(
        "subnet", EXAMPLE, "--drain", "ip-10-0-1-20.us-west-2.compute.internal,i-0bbbbbbbbbbbbbbbb",
        "--reserve", "10.0.1.64/26",
    )  # fmt: skip

    assert said.code == 0
    for text in ("prefixes to be had        7 (now 0)", "of them reserved          4 (now 0)", "4...rrrr11111111"):
        assert text in said.out


def test_json_has_the_documented_members(ipamd: Run) -> None:
    """One line; every member of the page on this command."""
    said = ipamd("subnet", EXAMPLE, "--json", "--drain", "10.0.1.90")
    page = (Path(__file__).resolve().parents[2] / "docs" / "subnet.md").read_text()

    assert said.out.count("\n") == 1
    (one,) = said.json["subnets"]
    members = [*said.json, *one, *one["figures"], *one["runs"][0], *one["uses"][0], *one["holders"][0]]
    members += [*one["broken"][0], *one["broken"][0]["breakers"][0], *one["advice"][0]]
    assert [name for name in members if f"`{name}`" not in page] == []
    assert one["before"]["free"] == 237 and one["figures"]["free"] == 240


def test_colour_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signs are the same; a terminal gets colours too."""
    rows = heatmap.rows(Occupation(lot("10.0.0.0/24", eni(1, prefixes=("10.0.0.32/28",)))))
    report = told(lot("10.0.0.0/24"))

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr("os.environ", {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "200"})
    subnet_tables.show(report, rows, 5)

    coloured = shown.getvalue()
    assert "\x1b[" in coloured
    assert "4.P............1" in re.sub(r"\x1b\[[0-9;]*m", "", coloured)


# ---- pictures --------------------------------------------------------------------------------------------------


def test_svg_has_a_cell_and_a_tooltip_for_each_block(ipamd: Run, tmp_path: Path) -> None:
    """Well-formed, one square a block, the signs and the legend in it."""
    said = ipamd("subnet", EXAMPLE, "--out", tmp_path / "map.svg")

    tree = ET.parse(tmp_path / "map.svg").getroot()
    tips = [title.text or "" for title in tree.iter(f"{SVG}title")]
    assert said.code == 1
    assert [tip for tip in tips if "/28:" in tip][:2] == [
        "10.0.1.0/28: broken, 4 of 16 taken",
        "10.0.1.16/28: broken, 1 of 16 taken",
    ]
    assert len([tip for tip in tips if "/28:" in tip]) == 16
    assert [path.name for path in tmp_path.iterdir()] == ["map.svg"]


def test_hostile_names_do_not_leave_their_text(ipamd: Run, tmp_path: Path) -> None:
    """A subnet's name, a description: no markup in the SVG, no escape sequence on the terminal."""
    name = "</text><script>alert(1)</script>\x1b[31m\u202e&'\""
    held = EXAMPLE.read_text().replace('"nodes-a"', json.dumps(name)).replace('"Amazon EKS shop"', json.dumps(name))
    (tmp_path / "a.json").write_text(held)

    said = ipamd("subnet", tmp_path / "a.json", "--out", tmp_path / "map.svg")

    tree = ET.parse(tmp_path / "map.svg").getroot()
    assert said.code == 1
    assert {node.tag for node in tree.iter()} == {f"{SVG}{tag}" for tag in ("svg", "title", "rect", "g", "text")}
    assert "\x1b" not in said.out and "\u202e" not in said.out


def test_png_shows_the_colours_of_its_cells(ipamd: Run, tmp_path: Path) -> None:
    """Each cell has its colour; the file is twice as large as the drawing, for sharp text."""
    said = ipamd("subnet", EXAMPLE, "--drain", "i-0aaaaaaaaaaaaaaaa", "--out", tmp_path / "map.png")
    drawing = heatmap.drawing("a subnet", ["a line"], heatmap.rows(Occupation(lot("10.0.0.0/20"))))

    image = Image.open(io.BytesIO(png(drawing)))

    squares = [part for part in drawing.parts if isinstance(part, heatmap.Square)]
    wanted = [ImageColor.getrgb(square.colour) for square in squares]
    assert image.size == (drawing.width * SCALE, drawing.height * SCALE)
    assert [image.getpixel((SCALE * (s.x + 3), SCALE * (s.y + 3))) for s in squares] == wanted
    assert len(squares) == 256 + len(heatmap.LEGEND)
    assert said.code == 0
    with Image.open(tmp_path / "map.png") as written:
        assert written.format == "PNG"


def test_rows_are_wide_where_a_subnet_is_large() -> None:
    """16 blocks a row up to a /20, 64 of a /16: one screen."""
    sizes = {cidr: heatmap.rows(Occupation(lot(cidr))) for cidr in ("10.0.0.0/28", "10.0.0.0/20", "10.0.0.0/16")}

    assert [(len(rows), len(rows[0].cells)) for rows in sizes.values()] == [(1, 1), (16, 16), (64, 64)]
    assert sizes["10.0.0.0/16"][1].label == "10.0.4.0"


def test_each_sign_has_its_place_in_the_legend() -> None:
    """Free, reserved, explicit, prefix, broken, full."""
    full = eni(1, *(f"10.0.0.{n}" for n in range(48, 64)))
    facts = lot(
        "10.0.0.0/25", full, eni(2, prefixes=("10.0.0.32/28",)), eni(3, *(f"10.0.0.{n}" for n in range(64, 79))),
        reservations=(reserved("10.0.0.16/28"), reserved("10.0.0.80/28", "explicit")),
    )  # fmt: skip

    text = heatmap.rows(Occupation(facts))[0].text

    assert text == "4rP#fx.1"
    assert set(text) - {"4"} <= {sign for sign, _, _ in heatmap.LEGEND}


# ---- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "want a state directory, files of JSON"),
        (("EXAMPLE", "--endpoint", "http://127.0.0.1:1"), "want a state directory, files of JSON"),
        (("EXAMPLE", "--region", "us-west-2"), "--region: only with --endpoint"),
        (("nowhere.json",), "nowhere.json: cannot be read: No such file or directory"),
        (("EXAMPLE", "EXAMPLE", "DIRECTORY"), "is a directory; want one state directory"),
        (("-", "-"), "standard input can be read once"),
        (("EXAMPLE", "--subnet", "subnet-9"), "not there; there is subnet-0a1b2c3d4e5f60718 (10.0.1.0/24)"),
        (("EXAMPLE", "--drain", "i-9"), 'node "i-9": has no ENI in subnet-0a1b2c3d4e5f60718; known are'),
        (("EXAMPLE", "--drain", ","), "--drain: want at least one node"),
        (("EXAMPLE", "--reserve", "10.0.2.0/28"), "lies outside the subnet's 10.0.1.0/24"),
        (("EXAMPLE", "--want", "0"), "want a whole number of 1 to 4096"),
        (("EXAMPLE", "--out", "map.gif"), "want a name that ends in .svg or .png"),
        (("EXAMPLE", "--out", "no/such/place.svg"), "cannot be written: No such file or directory"),
    ],
)
def test_wrong_usage_is_refused(ipamd: Run, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Exit code 2, nothing on standard output, one line that says what to write instead."""
    done = ipamd("subnet", *({"EXAMPLE": EXAMPLE, "DIRECTORY": tmp_path}.get(word, word) for word in words))

    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_several_subnets_are_told_one_after_the_other(ipamd: Run, tmp_path: Path) -> None:
    """Exit code 1 if any has no block; a what-if or a picture wants one of them by name."""
    more = {"Subnets": [{"SubnetId": "subnet-2", "CidrBlock": "10.0.2.0/24"}]}
    (tmp_path / "more.json").write_text(json.dumps(more))
    both = (EXAMPLE, tmp_path / "more.json")

    assert ipamd("subnet", *both, "--json").json["ok"] is False
    assert ipamd("subnet", *both, "--subnet", "10.0.2.0/24").code == 0
    refused = ipamd("subnet", *both, "--reserve", "10.0.2.64/26")
    assert (refused.code, refused.out) == (2, "")
    assert "choose by --subnet, of subnet-0a1b2c3d4e5f60718 (10.0.1.0/24), subnet-2 (10.0.2.0/24)" in refused.err
    assert ipamd("subnet", *both, "--subnet", "subnet-2", "--reserve", "10.0.2.64/26").code == 0


def test_standard_input_is_a_source(ipamd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`aws ... | ipamd subnet -`."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(EXAMPLE.read_bytes())))

    assert ipamd("subnet", "-", "--json").json["subnets"][0]["figures"]["free"] == 237


def test_a_png_without_pillow_says_what_to_install(ipamd: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow is an extra; an SVG needs nothing."""
    monkeypatch.delitem(sys.modules, "ipamd.ec2.subnets.png", raising=False)
    monkeypatch.setitem(sys.modules, "PIL", None)

    said = ipamd("subnet", EXAMPLE, "--out", tmp_path / "map.png")

    assert (said.code, said.out) == (2, "")
    assert "pip install 'ipamd-emulator[plots]', or write an .svg" in said.err
