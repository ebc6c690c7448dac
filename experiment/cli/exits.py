"""How a verb ends with a status other than 0; the statuses are listed in `experiment.cli.app`."""

CRASH, BAD_INPUT, ALL_INVALID, INTERRUPTED = 1, 2, 3, 130


class Stop(Exception):
    """Ends the process with a status and a reason of one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
