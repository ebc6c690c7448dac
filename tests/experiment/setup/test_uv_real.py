"""What users have set for uv and pip, against the uv that set-up uses here: a wheel of our own, and no network."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from experiment.host import contents
from experiment.setup.environments import ensure
from experiment.setup.failures import SetupError
from experiment.setup.overlay import items
from experiment.setup.places import Places
from experiment.setup.tools import present_uv

from .conftest import HERE

NOWHERE = "http://127.0.0.1:9/nothing"


@pytest.fixture(scope="session")
def real_uv() -> Path:
    """Looked for before a test has a PATH of its own."""
    found = present_uv(Places())
    if found is None:
        pytest.skip("no uv is here yet")
    return found


@pytest.fixture
def wheelhouse(
    real_uv: Path, places: Places, bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with one wheel, and `gil` locked to it."""
    (bin_folder / "uv").symlink_to(real_uv)
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "UV_EXCLUDE_NEWER", "UV_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    house = tmp_path / "wheelhouse"
    house.mkdir()
    wheel = house / "lab_tiny-1.0-py3-none-any.whl"
    info = "lab_tiny-1.0.dist-info"
    files = {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: lab-tiny\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    places.requirements("gil").write_text(f"lab-tiny==1.0 --hash=sha256:{digest}\n")
    return house


@pytest.fixture
def index(wheelhouse: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same wheel in an index; it does not say when the wheel was uploaded, so that no date is early enough."""
    project = wheelhouse.parent / "simple" / "lab-tiny"
    project.mkdir(parents=True)
    (wheel,) = wheelhouse.iterdir()
    (project / "index.html").write_text(f'<a href="{wheel.as_uri()}">{wheel.name}</a>')
    monkeypatch.setenv("PIP_INDEX_URL", project.parent.as_uri())
    return project.parent


def installed(places: Places, said: list[str]) -> bool:
    made = ensure("gil", HERE, report=said.append, places=places)
    return any(made.python.parents[1].glob("lib/python*/site-packages/lab_tiny-1.0.dist-info"))


def test_a_wheelhouse_does_without_network(places: Places, wheelhouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", f"/no/such/folder {wheelhouse}")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert installed(places, [])


def test_a_date_that_newer_packages_are_excluded_by_is_none_of_ours(
    places: Places, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "2020-01-01T00:00:00Z")
    assert installed(places, [])


def test_a_uv_toml_that_stands_in_the_way_is_left_aside(places: Places, index: Path, tmp_path: Path) -> None:
    config = tmp_path / "config" / "uv" / "uv.toml"
    config.parent.mkdir(parents=True)
    for text in ('exclude-newer = "2020-01-01T00:00:00Z"\n', "no such = [\n"):
        config.write_text(text)
        places.requirements("gil").write_text(f"{places.requirements('gil').read_text()}# made again\n")
        said: list[str] = []
        assert installed(places, said)
        assert any(f"uv failed, and reads {config}; trying without" in line for line in said)


def test_an_index_that_only_a_uv_toml_names_is_used(
    places: Places, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_INDEX_URL")
    (places.checkout / "uv.toml").write_text(f'[[index]]\nurl = "{index.as_uri()}"\ndefault = true\n')
    said: list[str] = []
    assert installed(places, said)
    assert not any("uv.toml" in line for line in said)


def test_where_neither_helps_the_reason_names_the_file(places: Places, wheelhouse: Path) -> None:
    (places.checkout / "uv.toml").write_text("offline = true\n")
    with pytest.raises(SetupError) as raised:
        installed(places, [])
    assert raised.value.reason == (
        f"environment gil could not be set up, with {places.checkout / 'uv.toml'} or without"
    )


def test_a_wheel_of_ones_own_is_laid_over_and_says_where_it_came_from(
    places: Places, index: Path, wheelhouse: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (locked,) = wheelhouse.iterdir()
    wheel = own / "lab_tiny-1.1-py3-none-any.whl"
    with zipfile.ZipFile(locked) as theirs, zipfile.ZipFile(wheel, "w") as ours:
        for name in theirs.namelist():
            ours.writestr(name.replace("1.0", "1.1"), theirs.read(name).decode().replace("1.0", "1.1"))
    overlay = items([f"own/{wheel.name}"], tmp_path)
    over = ensure("gil", HERE, overlay=overlay, report=print, places=places)
    plain = ensure("gil", HERE, report=print, places=places)
    found = {made.python: contents(made.python) for made in (over, plain)}
    assert [found[made.python]["packages"]["lab-tiny"] for made in (over, plain)] == ["1.1", "1.0"]
    assert found[over.python]["package_contents"]["lab-tiny"].startswith("local file ")
