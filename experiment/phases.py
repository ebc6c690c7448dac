"""What a draining loop's time goes into: the names that benches write and pages read. Nothing is imported."""

RECEIVE, UNMASK, CORE, POST, ANSWER = "receive", "unmask", "core", "inference send", "inference receive"
PARTIAL, TIMERS, LOOP, POLL, WAKE = "partial send", "timers", "loop", "poll", "sleep and wake-up"
PHASES = (RECEIVE, UNMASK, CORE, POST, ANSWER, PARTIAL, TIMERS, LOOP, POLL, WAKE)
"""What a draining loop's time goes into. Poll and sleep are system calls; of the others some have one inside."""
KERNEL = " (kernel)"
CALLS = tuple(phase + KERNEL for phase in (RECEIVE, POST, ANSWER, PARTIAL))
"""The system call of a phase, counted apart from its Python."""
