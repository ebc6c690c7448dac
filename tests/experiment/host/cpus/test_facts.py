"""Clock, hardware threads and steal time of every CPU that is used, against files laid out like the kernel's."""

from pathlib import Path

import pytest

from experiment.host import usable_cpus
from experiment.host.cpus import governor, sibling_groups, steal_share, steal_ticks, turbo


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def test_the_governor_is_looked_at_on_every_cpu(tmp_path: Path) -> None:
    governors = {0: "performance", 1: "powersave", 2: "performance", 3: "performance"}
    lay_out(tmp_path, {f"cpu{cpu}/cpufreq/scaling_governor": name for cpu, name in governors.items()})
    assert governor([0, 2, 3], tmp_path) == "performance"
    assert governor([3, 1, 0], tmp_path) == "performance on 0, 3; powersave on 1"
    assert governor([0, 4], tmp_path) == "performance on 0; not visible on 4"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"intel_pstate/no_turbo": "0"}, "on"),
        ({"intel_pstate/no_turbo": "1"}, "off"),
        ({"cpufreq/boost": "1"}, "on"),
        ({"cpufreq/boost": "0"}, "off"),
        ({"cpufreq/boost": "1", "cpu0/cpufreq/boost": "0", "cpu1/cpufreq/boost": "0"}, "off"),
        ({"cpufreq/boost": "1", "cpu1/cpufreq/boost": "0"}, "on on 0; off on 1"),
        ({}, None),
    ],
)
def test_turbo_is_found_whoever_has_its_switch(tmp_path: Path, files: dict[str, str], found: str | None) -> None:
    assert turbo([0, 1], lay_out(tmp_path, files)) == found


def test_hardware_threads_of_the_cpus_that_are_used(tmp_path: Path) -> None:
    texts = ["0,4", "1,5", "2-3", "2-3", "0,4", "1,5", "6"]
    lay_out(tmp_path, {f"cpu{cpu}/topology/thread_siblings_list": text for cpu, text in enumerate(texts)})
    assert sibling_groups(range(4), tmp_path) == [[0, 4], [1, 5], [2, 3]]
    assert sibling_groups([6], tmp_path) == []
    assert sibling_groups([6, 7], tmp_path) is None


def test_steal_time_is_a_share_of_each_cpus_time(tmp_path: Path) -> None:
    first, last = tmp_path / "first", tmp_path / "last"
    first.write_text("cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 10 0 0 90 0 0 0 5 7 7\ncpu1 10 0 0 90 0 0 0 0 0 0\nintr 1\n")
    last.write_text("cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 30 5 5 145 5 5 5 5 9 9\ncpu1 50 0 0 100 0 0 0 50 0 0\nintr 1\n")
    before, after = (steal_ticks([1, 0], path) for path in (first, last))
    assert before == {0: (5, 105), 1: (0, 100)}
    assert steal_share(before, after) == {"0": 0.0, "1": 0.5}
    assert steal_ticks([0], last) == {0: (5, 205)}
    assert steal_share(before, before) is None
    assert steal_share(None, after) is None


@pytest.mark.parametrize("text", [None, "", "cpu0 1 2 3 4\n"])
def test_a_kernel_that_shows_none_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "stat").write_text(text)
    assert steal_ticks([0], tmp_path / "stat") is None


def test_of_this_machine_nothing_is_made_up() -> None:
    cpus = usable_cpus()
    known = steal_ticks(cpus)
    assert known is None or all(0 <= steal <= all_ for steal, all_ in known.values())
    assert governor(cpus) is None or governor(cpus)
