"""Forensics as a profiler: nothing until a session stands still, then two looks at the gateway."""

import json
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from profiles.forensics.capture import capture, listening_port
from profiles.profilers.inject import is_known_python
from profiles.profilers.kinds import ProfilerFailed, Target

HOLD_STALLED_S = 30.0
"""How long the load generator spares a session that stands still, so that forensics find it as it is."""


class Forensics:
    """Nothing until a session stands still, or the window ends; then two looks at the gateway."""

    unit = "findings"

    def __init__(self) -> None:
        self._seen: dict[str, Any] | None = None
        self._looking = anyio.Lock()

    async def start(self, target: Target, folder: Path) -> None:
        self._target, self._folder = target, folder

    async def look(self) -> None:
        """Take the looks now; only the first call does."""
        async with self._looking:
            if self._seen is None:
                self._seen = await self._capture()

    async def stop(self) -> dict[str, Any]:
        await self.look()
        assert self._seen is not None
        (self._folder / "forensics.json").write_text(json.dumps(self._seen, indent=2) + "\n", encoding="utf-8")
        return {"findings": self._seen["findings"]}

    async def _capture(self) -> dict[str, Any]:
        pids = [pid for pid in self._target.pids if is_known_python(pid)]
        if not pids:
            raise ProfilerFailed("forensics: none of the gateway's processes is a CPython 3.14")
        return await anyio.to_thread.run_sync(lambda: capture(pids, listening_port(pids)))
