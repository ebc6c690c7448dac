"""`make bisect`: candidates decided one after the other, until two neighbours are left. Stored after each look.

results/<date>-bisect-…/bisect.json holds every frame and point that a decision rests on, so that it can be resumed.
"""

import json
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from experiment.ask import Ask, Config, ConfigError, Plan, for_folder, resolve_one
from experiment.host import Run, ShapeRefused, clean_leftovers
from experiment.run import Display, ProbeError, interpreter_facts, on_harness_cpus, prepare, run_point
from experiment.setup import SetupError, ensure, read_json, write_json
from experiment.store import RunFolder
from profiles.bisect.halving import Change, Nothing, following
from profiles.bisect.question import Candidate, Question
from profiles.cliff.hunt import ServerGone
from profiles.cliff.run import OVERHEAD_S, hunt_turn
from profiles.runs import begun, interpreter_kept, refusal

EVIDENCE = "bisect.json"


def cost_plan(config: Config, question: Question, candidate: Candidate) -> Plan:
    """A candidate's point, for a question of cost. Raises as `resolve` does."""
    settings = question.settings
    ask = Ask(
        "bisect",
        (question.variant,),
        (settings.shape,),
        settings.timing,
        (settings.sessions,),
        pythons=None if candidate.build.python is None else (candidate.build.python,),
        overlay=candidate.build.overlay,
    )
    return resolve_one(config, ask)


async def run_bisect(
    config: Config, question: Question, results: Path, display: Display, resumed: Path | None = None
) -> RunFolder:
    """Decide candidates until it is known between which two it changed, or that it cannot be.

    A candidate that cannot run, or is not decided in time, is left out, and its neighbours are asked.

    Raises:
        ConfigError: `resumed` asked something else.
    """
    started, began_s = datetime.now().astimezone(), time.monotonic()
    clean_leftovers(results)
    async with Run(results) as run:
        for note in run.environment.notes():
            display.note(note)
        asked = {
            "asked": asdict(question.asked),
            "subject": question.subject,
            "candidates": question.labels,
            "settings": question.settings.model_dump(),
        }
        if resumed is None:
            folder = RunFolder.create(results, f"bisect-{question.asked.package or 'cpython'}", started)
            evidence: dict[str, Any] = {
                **begun(run, started),
                **asked,
                "looked_at": {},
                "change": None,
                "nothing": None,
                "seconds": 0.0,
            }
        else:
            folder, evidence = RunFolder(resumed), _taken_up(resumed, asked)
        seeker = _Seeker(run, config, question, folder, evidence, display)
        while True:
            known = {label: one["decision"] for label, one in evidence["looked_at"].items() if one["ended"]}
            try:
                then = following(question.labels, known)
            except Nothing as error:
                evidence["nothing"] = str(error)
                break
            if isinstance(then, Change):
                evidence["change"] = asdict(then)
                break
            await seeker.decide(question.candidates[question.labels.index(then)])
        evidence["seconds"] += time.monotonic() - began_s
        evidence["finished"] = True
        write_json(folder.path / EVIDENCE, evidence)
    return folder


def _taken_up(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    evidence = read_json(folder / EVIDENCE)
    if evidence is None:
        raise ConfigError(f"RESUME: expected the folder of a bisection, with its {EVIDENCE}, got {folder}")
    plain = json.loads(json.dumps(asked))  # as it is read back
    unlike = [key for key in ("asked", "candidates", "settings") if evidence[key] != plain[key]]
    if unlike:
        raise ConfigError(f"RESUME: {folder} was asked something else: {', '.join(unlike)}")
    return evidence


class _Seeker:
    """Decides candidates, and keeps what it saw."""

    def __init__(
        self,
        run: Run,
        config: Config,
        question: Question,
        folder: RunFolder,
        evidence: dict[str, Any],
        display: Display,
    ) -> None:
        self._run, self._config, self._question = run, config, question
        self._folder, self._evidence, self._display = folder, evidence, display

    async def decide(self, candidate: Candidate) -> None:
        """Look at it until the test decides, or the time is over."""
        fresh: dict[str, Any] = {"interpreter": None, "refused": None, "decision": None, "ended": False}
        kept = self._evidence["looked_at"].setdefault(candidate.label, {**fresh, "frames": 0, "stalls": 0, "pairs": []})
        looking = self._stalls if self._question.cost is None else self._costs
        try:
            await looking(candidate, kept)
        except (SetupError, ProbeError, ShapeRefused, ServerGone) as error:
            kept["refused"] = refusal(candidate.label, error, self._display)
        kept["ended"] = True
        said = kept["decision"] or "no decision"
        self._display.note(f"{candidate.label}: {said}; {seen(kept)}")
        self._store()

    def _store(self) -> None:
        write_json(self._folder.path / EVIDENCE, self._evidence)

    async def _stalls(self, candidate: Candidate, kept: dict[str, Any]) -> None:
        question, cell = self._question, self._question.cell
        assert cell is not None
        python = candidate.build.python or cell.interpreter

        def made_ready() -> Any:
            return ensure(
                cell.environment,
                python,
                overlay=candidate.build.overlay,
                allow_stand_in=False,
                report=self._display.note,
            )

        environment = await anyio.to_thread.run_sync(made_ready)
        kept["interpreter"] = interpreter_kept(interpreter_facts(environment))
        test, most_s = question.stalls, question.settings.most_s

        def enough(frames: int, stalls: int) -> bool:
            return test.decide(kept["stalls"] + stalls, kept["frames"] + frames) is not None

        with self._display.stage(f"{candidate.label} ({self._left()})", most_s + OVERHEAD_S) as stage:
            turn = await hunt_turn(
                self._run,
                cell,
                environment.python,
                (question.settings.clients, most_s),
                self._folder,
                stage,
                enough=enough,
            )
        kept["frames"] += turn.frames
        kept["stalls"] += turn.stalls
        kept["findings"] = [finding["kind"] for look in turn.findings for finding in look]
        kept["decision"] = test.decide(kept["stalls"], kept["frames"])

    async def _costs(self, candidate: Candidate, kept: dict[str, Any]) -> None:
        question, test = self._question, self._question.cost
        assert test is not None
        plans = [cost_plan(self._config, question, each) for each in (question.candidates[0], candidate)]
        launches = [await anyio.to_thread.run_sync(prepare, plan, self._display.note) for plan in plans]
        kept["interpreter"] = interpreter_kept(launches[1][1])
        pairs = kept["pairs"]
        while len(pairs) < question.settings.pairs:
            costs: dict[int, float | None] = {}
            for which in (0, 1) if len(pairs) % 2 == 0 else (1, 0):
                plan, (launch, _), label = plans[which], launches[which], (question.labels[0], candidate.label)[which]
                title = f"{candidate.label}, pair {len(pairs) + 1}: {label} ({self._left()})"
                place = self._folder.point(for_folder(label), plan.sessions[0])
                with on_harness_cpus(plan), self._display.stage(title, plan.point_s) as stage:
                    point = await run_point(self._run, plan, launch, plan.sessions[0], place, stage)
                valid = point["status"] != "INVALID"
                costs[which] = (point["gateway"] or {}).get("us_per_session_second") if valid else None
            pairs.append([costs[0], costs[1]])
            self._store()
            kept["decision"] = test.decide(ratios(kept))
            if kept["decision"] is not None:
                return

    def _left(self) -> str:
        done = sum(one["ended"] for one in self._evidence["looked_at"].values())
        return f"decision {done + 1}"


def ratios(kept: dict[str, Any]) -> list[float]:
    """Candidate over the first, of each pair whose points are both valid."""
    return [candidate / first for first, candidate in kept["pairs"] if first and candidate]


def seen(kept: dict[str, Any]) -> str:
    """What a decision rests on, in words."""
    if kept["refused"] is not None:
        return str(kept["refused"])
    if kept["pairs"]:
        return f"cost ratios {', '.join(f'{each:.3f}' for each in ratios(kept)) or 'none valid'}"
    return f"{kept['stalls']} stalls in {kept['frames']:,} frames"
