"""JUnit, Markdown, HTML and the other tools' JSON: valid, complete, and safe with any name."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from layertui.compare.comparison import Comparison, open_comparison
from layertui.compare.judging.policy import policy_named
from layertui.compare.model import Symptom
from layertui.compare.reports import FORMATS, SEVERAL, Part, Settings, part_of, whole
from layertui.compare.reports.forms.html.heat_map import HeatMap, heat_map, png
from layertui.compare.reports.forms.layer_results import layer_results
from layertui.compare.reports.forms.markdown import MOST, code
from layertui.compare.reports.forms.verdict_json import qwen3_report
from support.real_pairs import measured as measured_pair
from support.synthetic import capture, record, saved

SETTINGS = Settings("layertui compare ref cand")
EVIL = "</script><script>alert(1)</script>\"&'|`@x [a](http://x) \x00\x1b\ud7ff"


@pytest.fixture
def evil() -> Comparison:
    left = [record(f"layers.0.{EVIL}-output"), record("a-output", error=EVIL), record(EVIL)]
    right = [record(f"layers.0.{EVIL}-output", (3, 3)), record("b-output")]
    found = Comparison(capture(left), capture(right))
    for side in (found.reference, found.candidate):
        side.prompt, side.notes, side.path = EVIL, [EVIL], f"/dump/{EVIL}"
    return found


def rendered(comparison: Comparison, form: str) -> str:
    settings = Settings(SETTINGS.command + EVIL)
    return whole([part_of(comparison, form, settings)], form, settings)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("which", ["odd", "nasty", "evil"])
def test_every_form_takes_every_comparison(
    form: str, which: str, request: pytest.FixtureRequest
) -> None:
    text = rendered(request.getfixturevalue(which), form)
    assert text.endswith("\n")
    assert all(c.isprintable() or c == "\n" for c in text) or form in ("json", "qwen3-json", "aiu")
    if form in ("json", "qwen3-json", "aiu"):
        json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


# JUnit


def suites(text: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "testsuites"
    for suite in root:
        check_suite(suite)
    return list(root)


def check_suite(suite: ElementTree.Element) -> None:
    """The order and the attributes of Jenkins' schema, and counts that are true."""
    tags = [child.tag for child in suite]
    order = ["properties", "testcase", "system-out"]
    assert tags == sorted(tags, key=order.index)
    cases = suite.findall("testcase")
    found = Counter(child.tag for case in cases for child in case)
    assert int(suite.attrib["tests"]) == len(cases)
    for word, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[word]) == found[tag]
    names = [(case.attrib["classname"], case.attrib["name"]) for case in cases]
    assert len(set(names)) == len(names)
    assert all(set(case.attrib) == {"classname", "name", "time"} for case in cases)
    for case in cases:
        assert len(case) <= 1
        assert all("message" in child.attrib for child in case)


def test_junit_has_a_case_for_every_row(odd: Comparison) -> None:
    (suite,) = suites(rendered(odd, "junit"))
    cases = suite.findall("testcase")
    assert len(cases) == len(odd.rows) + 1
    outcome = {
        case.attrib["classname"]: next((child.tag for child in case), "passed") for case in cases
    }
    assert outcome["z"] == outcome["a"] == outcome["s"] == outcome["i"] == "failure"
    assert outcome["b"] == "error" and outcome["only_left"] == "skipped"
    assert outcome["e"] == outcome["n"] == "passed"
    failure = next(c for c in cases if c.attrib["classname"] == "z")[0]
    assert "the reference is all zeros" in failure.attrib["message"]
    assert "reference   z-output" in (failure.text or "")
    reason = {p.attrib["name"]: p.attrib["value"] for p in suite.find("properties") or ()}
    assert reason["first_divergence"].startswith("a: NaN or Inf")


@pytest.mark.parametrize("which", ["evil", "nasty"])
def test_junit_of_any_name(which: str, request: pytest.FixtureRequest) -> None:
    suites(rendered(request.getfixturevalue(which), "junit"))


def strictly(real: Path, pair: str) -> Comparison:
    """A real pair of which all outputs must be paired."""
    sides = (str(real / pair / side) for side in ("torch_dump", "max_dump"))
    comparison = open_comparison(*sides, min_coverage=1.0)
    assert comparison.measure()
    return comparison


def test_junit_is_red_when_the_exit_status_is(tmp_path: Path, real: Path) -> None:
    comparison = measured_pair(real, "llama-f32")
    strict = strictly(real, "llama-f32")
    (suite,) = suites(rendered(strict, "junit"))
    assert (suite.attrib["failures"], strict.exit_status()) == ("1", 1)
    (suite,) = suites(rendered(comparison, "junit"))
    assert suite.attrib["failures"] == suite.attrib["errors"] == "0"
    alone = Comparison(
        saved(tmp_path / "a", {"alpha.conv-output": np.ones((3, 5), np.float32)}),
        saved(tmp_path / "b", {"beta.gru-output": np.ones(7, np.float32)}),
    )
    (suite,) = suites(rendered(alone, "junit"))
    assert suite.attrib["failures"] == "1" and alone.exit_status() == 1


# Markdown


def test_markdown_says_the_first_divergence_first(real: Path) -> None:
    text = rendered(measured_pair(real, "llama_v3_badweights-f32"), "markdown")
    lines = text.splitlines()
    assert lines[0] == "### ❌ first divergence: `embed_tokens`"
    assert "**DIVERGED** at `embed_tokens-output`" in lines[2]
    assert text.count("<details>") == text.count("</details>") == 1
    clean = rendered(measured_pair(real, "llama-f32"), "markdown")
    assert clean.startswith("### ✅ no divergence\n")


def test_markdown_tables_are_tables(evil: Comparison) -> None:
    lines = rendered(evil, "markdown").splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in tables}) == 1
    outside = re.sub(r"(`+).*?\1", "", "\n".join(tables))
    assert "<" not in outside and "@" not in outside and "](" not in outside


@pytest.mark.parametrize("text", ["a", "`", "``a`", "a|b", " a ", "", "x" * 5000])
def test_code_spans_hold_anything(text: str) -> None:
    span = code(text)
    fence = re.match("`+", span)
    assert fence and span.endswith(fence[0])
    inside = span[len(fence[0]) : -len(fence[0])]
    assert fence[0] not in re.findall("`+", inside)
    assert len(span) < 400


def test_markdown_fits_into_a_comment() -> None:
    names = [f"layers.{i}.self_attn.some_quite_long_name_of_a_module-output" for i in range(3000)]
    comparison = Comparison(
        capture([record(name) for name in names]), capture([record(name, (3, 7)) for name in names])
    )
    text = rendered(comparison, "markdown")
    assert 20_000 < len(text) <= MOST and "more rows: too long for a comment" in text
    assert text.count("<details>") == text.count("</details>")
    parts = [part_of(comparison, "markdown", SETTINGS, f"p{i}") for i in range(4)]
    many = whole(parts, "markdown", SETTINGS)
    assert len(many) < 65_536 and "3 cases are left out" in many
    assert many.count("| ❌ differs |") == 4


# HTML


class Page(HTMLParser):
    """Elements of a page, with what they hold; fails on tags that are not closed."""

    VOID = ("meta", "img", "br", "input", "line", "circle")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)


@pytest.mark.parametrize("which", ["odd", "evil", "nasty"])
def test_html_is_one_whole_file(which: str, request: pytest.FixtureRequest) -> None:
    comparison: Comparison = request.getfixturevalue(which)
    text = rendered(comparison, "html")
    page = Page(text)
    assert page.tags["script"] == page.tags["style"] == 1
    assert page.tags["tr"] == len(comparison.rows) + 1
    assert page.tags["circle"] == len(comparison.rows)
    for tag, name, value in page.attributes:
        assert not name.startswith("on") and name != "style", (tag, name)
        if name in ("src", "href"):
            assert value.startswith(("#", "data:image/png;base64,")), value
    anchors = {v for t, n, v in page.attributes if n == "id"}
    links = {v[1:] for t, n, v in page.attributes if n == "href"}
    assert links <= anchors
    assert "http" not in re.sub(r"http-equiv|\[a\]\(http:(?://|\.)x\)", "", text)


def test_html_allows_only_its_own_script_and_style(odd: Comparison) -> None:
    page = Page(rendered(odd, "html"))
    policy = next(v for t, n, v in page.attributes if n == "content" and "default-src" in v)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("script", "style"):
        digest = base64.b64encode(sha256("".join(page.text[tag]).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_html_shows_the_finding_and_its_heat_maps(real: Path) -> None:
    comparison = measured_pair(real, "llama_v3_badweights-f32")
    page = Page(rendered(comparison, "html"))
    assert "embed_tokens" in page.text["code"][0]
    pictures = [v for t, n, v in page.attributes if (t, n) == ("img", "src")]
    assert len(pictures) == 6
    assert base64.b64decode(pictures[0].partition(",")[2]).startswith(b"\x89PNG")
    clean = Page(rendered(measured_pair(real, "llama-f32"), "html"))
    assert clean.tags["img"] == 0 and "No divergence" in clean.text["strong"][0]


def cells_of(tmp_path: Path, d: np.ndarray, rows: int, columns: int) -> HeatMap:
    comparison = Comparison(
        saved(tmp_path / "a", {"m-output": np.zeros_like(d)}),
        saved(tmp_path / "b", {"m-output": d}),
    )
    found = heat_map(comparison.task(0), rows, columns)
    assert isinstance(found, HeatMap)
    return found


@pytest.mark.parametrize(
    "shape", [(5, 7), (3, 200, 100), (2, 70_001), (1, 300), (17,), (), (1000, 3)]
)
def test_heat_map_cells_are_maxima(tmp_path: Path, shape: tuple[int, ...]) -> None:
    d = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    found = cells_of(tmp_path, d, 16, 32)
    plain = np.abs(d.reshape(-1, shape[-1] if shape else 1).astype(np.float64))
    high, wide = min(16, plain.shape[0]), min(32, plain.shape[1])
    expected = np.zeros((high, wide))
    rows = np.arange(plain.shape[0]) * high // plain.shape[0]
    columns = np.arange(plain.shape[1]) * wide // plain.shape[1]
    np.maximum.at(expected, (rows[:, None], columns[None, :]), plain)
    assert np.array_equal(found.cells, expected) and found.greatest == expected.max()


def test_heat_map_picture(tmp_path: Path) -> None:
    d = np.array([[0, 1e-9, 1.0], [np.nan, 1e-3, 0.5]], np.float32)
    found = cells_of(tmp_path, d, 64, 64)
    data = png(found)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20], "big") == 3 and int.from_bytes(data[20:24], "big") == 2
    at = data.index(b"IDAT")
    raw = zlib.decompress(data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at], "big")])
    lines = np.frombuffer(raw, np.uint8).reshape(2, 10)[:, 1:].reshape(2, 3, 3)
    assert lines[1, 0].tolist() == [255, 0, 255]  # NaN on one side
    assert lines[0, 2].tolist() == [253, 231, 37]  # the greatest
    assert lines[0, 0].tolist() == lines[0, 1].tolist() == [68, 1, 84]  # six decades below
    assert lines[1, 1].tolist() == [33, 144, 141]  # halfway, by the logarithm


# The names of other tools


def test_qwen3_names(real: Path) -> None:
    comparison = measured_pair(real, "llama_v3_badweights-f32")
    comparison.set_policy(policy_named("fixed"))
    report = qwen3_report(comparison)
    assert list(report) == [
        "model_path", "test_input", "overall_success", "total_layers_tested", "layers_passed",
        "layers_failed", "layer_results",
    ]  # fmt: skip
    layers = report["layer_results"]
    assert list(layers[0]) == [
        "layer_index", "layer_name", "input_shape", "output_shape", "mse", "cosine_similarity",
        "relative_error", "pass_threshold", "sublayers",
    ]  # fmt: skip
    assert report["test_input"] is None and report["overall_success"] is False
    assert len(layers) == report["total_layers_tested"]
    assert [(layer["layer_index"], layer["layer_name"]) for layer in layers] == [
        (-1, "embedding"), (0, "layer_0_attention"), (0, "layer_0_mlp"),
        (1, "layer_1_attention"), (1, "layer_1_mlp"), (2, "final_norm"), (2, "lm_head"),
        (2, "output"),
    ]  # fmt: skip
    assert report["layers_passed"] + report["layers_failed"] == len(layers)
    assert layers[0]["input_shape"] == [1, 10] and layers[0]["output_shape"] == [1, 10, 64]
    assert layers[0]["relative_error"] > 0.01 and layers[0]["pass_threshold"] is False
    parts = {part.row.index: part for layer in layer_results(comparison) for part in layer.parts}
    outputs = {r.index for r in comparison.rows if r.kind == "pair" and r.role == "output"}
    assert outputs <= set(parts)  # every output is in one of them
    for index, found in parts.items():
        assert found.passed == (index not in comparison.failing)


def test_qwen3_fails_closed(odd: Comparison) -> None:
    report = qwen3_report(odd)  # by the fixed policy, whatever the comparison has
    passed = {layer["layer_name"]: layer["pass_threshold"] for layer in report["layer_results"]}
    assert passed["e"] and passed["n"]
    for name in ("a", "b", "i", "s", "z"):
        assert passed[name] is False, name
    assert report["overall_success"] is False


def test_qwen3_of_a_clean_pair(real: Path) -> None:
    assert qwen3_report(measured_pair(real, "llama-f32"))["overall_success"] is True
    assert qwen3_report(strictly(real, "llama-f32"))["overall_success"] is False


# Many cases


@pytest.mark.parametrize("form", SEVERAL)
def test_forms_that_hold_cases(form: str, odd: Comparison, real: Path) -> None:
    clean = measured_pair(real, "llama-f32")
    parts = [
        part_of(clean, form, SETTINGS, "p0-b1"),
        part_of(odd, form, SETTINGS, "p0-b2"),
        Part("p1-b1", 1, problem=f"{EVIL}: no such file"),
    ]
    text = whole(parts, form, SETTINGS)
    for name in ("p0-b1", "p0-b2", "p1-b1", "no such file"):
        assert name in text
    if form == "junit":
        assert [s.attrib["errors"] for s in suites(text)] == ["0", "1", "1"]
    elif form == "html":
        page = Page(text)
        assert page.tags["section"] == 2 and page.tags["script"] == 1
        ids = [v for t, n, v in page.attributes if n == "id"]
        assert len(ids) == len(set(ids))
    elif form == "json":
        assert [c["status"] for c in json.loads(text)["cases"]] == [0, 1, 1]


def test_confidence_and_symptoms_are_shown(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a diagnosis adds to the first divergence is in every form that people read."""
    comparison = measured_pair(real, "olmo2-f32")
    plain = comparison.first_divergence()
    assert plain is not None
    symptom = Symptom("scale", 0.97, "x1.0100 +- 0.0003 <b>")
    richer = replace(plain, confidence=0.93, symptoms=(symptom,))
    monkeypatch.setattr(Comparison, "first_divergence", lambda _: richer)
    for form, safe in (("markdown", "&#60;b&#62;"), ("html", "&lt;b&gt;")):
        text = rendered(comparison, form)
        assert "93 % sure" in text and "explains 97 %" in text
        assert "x1.0100" in text and safe in text
