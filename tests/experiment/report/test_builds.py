"""What each CPython changed: as strong as the data, and no stronger."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from experiment.ask.schema import ConfigError
from experiment.report.pages.publish import publish_builds
from experiment.setup import CHECKOUT, write_json
from tests.experiment.invented import interpreter, manifest, point, store

COSTS = {
    "gil@3.14": (1000.0, 1010.0, 990.0),
    "gil@3.14-again": (1012.0, 1000.0, 995.0),
    "gil@3.15": (903.0, 905.0, 890.0),
    "gil@3.14t": (1300.0, 1310.0, 1290.0),
    "gil@3.15t": (1305.0, 1305.0, 1290.0),
}


def facts() -> dict[str, Any]:
    known = manifest(dict.fromkeys(COSTS, "cpuset-1"))
    for label, row in known["rows"].items():
        series = label.partition("@")[2].removesuffix("-again")
        version = f"{series.rstrip('t')}.0"
        tag = version + ("t" if series.endswith("t") else "")
        row["interpreter"] = interpreter(series, version=version, tag=tag)
        row["variant"]["interpreter"] = series
    known["rows"]["gil@3.14-again"]["again_of"] = "gil@3.14"
    return known


@pytest.fixture
def run(tmp_path: Path) -> Path:
    points = {
        label: [point(200, "PASS", us, f"listed-{slot}") for slot, us in enumerate(costs, 1)]
        for label, costs in COSTS.items()
    }
    return store(tmp_path / "results", facts(), points)


def test_each_row_stands_beside_the_build_before_and_no_noise_is_called_a_change(run: Path, tmp_path: Path) -> None:
    *_, prose = publish_builds([run], [], tmp_path)
    page = prose.read_text(encoding="utf-8")
    same = "newest p95 150 → 150 ms, memory 671 → 671 kB per session."
    assert f"- gil, 3.14.0 → 3.15.0: cheaper (× 0.899 (0.896–0.903, n=3), A/A 0.988–1.012); {same}" in page
    assert f"- gil, 3.14.0t → 3.15.0t: not told apart (× 1.000 (0.996–1.004, n=3), A/A 0.988–1.012); {same}" in page
    assert "3.14.0 → 3.14.0t" not in page
    assert "| gil | 3.15.0 | 903 (890–905, n=3) | 0.899 (0.896–0.903, n=3) | – | 150 | 671 |" in page
    assert "| 3.15.0t | GCC 14 | yes | no |" in page


def test_a_bisection_is_kept_with_its_answer_and_without_places(run: Path, tmp_path: Path) -> None:
    found = {
        "finished": True,
        "answer": "granian changed it between 2.8.0 and 2.8.1.",
        "command": "make bisect PACKAGE=granian PYTHONS=/opt/mine/bin/python3",
        "took": "6 of 12 candidates looked at, 900,000 frames, 3.1 min.",
        "asked": {"package": "granian", "pythons": ["/opt/mine/bin/python3"]},
        "environment": {"passed": ["HOME"]},
        "machine": {"cpu_model": "Invented", "hostname": "mine"},
    }
    write_json(tmp_path / "bisect" / "bisect.json", found)
    written = publish_builds([run], [tmp_path / "bisect"], tmp_path)
    page = written[-1].read_text(encoding="utf-8")
    assert (
        "`make bisect PACKAGE=granian PYTHONS=python3`\n\ngranian changed it between 2.8.0 and 2.8.1. 6 of 12" in page
    )
    (kept,) = (path.read_text(encoding="utf-8") for path in written if path.name == "bisect-granian.json")
    assert not any(word in kept for word in ("/opt", "hostname", "HOME"))
    write_json(tmp_path / "bisect" / "bisect.json", {**found, "finished": False})
    with pytest.raises(ConfigError, match="expected the folder of a finished bisection"):
        publish_builds([run], [tmp_path / "bisect"], tmp_path)


def test_without_runs_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give their folders"):
        publish_builds([], [], tmp_path)


@pytest.mark.skipif(not (CHECKOUT / "notebooks/findings/builds").exists(), reason="nothing was published yet")
def test_the_page_is_what_the_evidence_gives(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "notebooks/findings/builds", tmp_path / "notebooks/findings/builds")
    *_, prose = publish_builds([], [], tmp_path)
    assert prose.read_bytes() == (CHECKOUT / prose.relative_to(tmp_path)).read_bytes()
