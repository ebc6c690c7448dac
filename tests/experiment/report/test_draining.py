"""The draining page is what its evidence gives."""

from pathlib import Path

import pytest

from experiment.ask.schema import ConfigError
from experiment.report.pages.publish import GENERATED, publish_draining
from experiment.setup import CHECKOUT


def test_the_page_is_what_its_evidence_gives(tmp_path: Path) -> None:
    kept = CHECKOUT / "notebooks/findings/draining"
    (tmp_path / "notebooks/findings/draining").mkdir(parents=True)
    for file in kept.iterdir():
        (tmp_path / "notebooks/findings/draining" / file.name).write_bytes(file.read_bytes())
    *_, prose = publish_draining([], None, root=tmp_path)
    assert prose.read_text(encoding="utf-8").startswith(GENERATED)
    assert prose.read_bytes() == (CHECKOUT / prose.relative_to(tmp_path)).read_bytes()


def test_a_page_without_evidence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give runs and --bench"):
        publish_draining([], None, root=tmp_path)
    with pytest.raises(ConfigError, match="draining and reactions"):
        publish_draining([], tmp_path, root=tmp_path)
