"""A campaign from its rows to a stored run: points, the stand they run on, conformance, verdicts. Re-exports only."""

from experiment.run.campaign import CONFORMANCE_S, Campaign, make_campaign
from experiment.run.conformance import NotConforming, on_harness_cpus, run_conformance
from experiment.run.harness import role_us
from experiment.run.hygiene import as_facts, findings
from experiment.run.launch import GIL_TURNED_ON, Launch, interpreter_facts, prepare
from experiment.run.manifest import CONTRACT, commit, make_manifest
from experiment.run.point import run_point
from experiment.run.probe import ProbeError
from experiment.run.progress import Display, Stage
from experiment.run.revisions import checked_out, git
from experiment.run.runner import run_campaign
from experiment.run.stand import HARNESS_PYTHON, LOOPBACK, Stand

__all__ = [
    "CONFORMANCE_S",
    "CONTRACT",
    "GIL_TURNED_ON",
    "HARNESS_PYTHON",
    "LOOPBACK",
    "Campaign",
    "Display",
    "Launch",
    "NotConforming",
    "ProbeError",
    "Stage",
    "Stand",
    "as_facts",
    "checked_out",
    "commit",
    "findings",
    "git",
    "interpreter_facts",
    "make_campaign",
    "make_manifest",
    "on_harness_cpus",
    "prepare",
    "role_us",
    "run_campaign",
    "run_conformance",
    "run_point",
]
