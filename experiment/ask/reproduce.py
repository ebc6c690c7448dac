"""What `make reproduce` asks for: the public benchmark's Python rows in its shapes, or what stands in for them here."""

from experiment.ask.asked import Ask
from experiment.ask.schema import Config
from experiment.host import ShapeRefused, cpu_plan, topology, usable_cpus

SHAPES = ("quota-1", "quota-2")
STAND_INS = ("quota-1x0.25", "quota-2x0.25")
STAND_IN_ROW = "threads"
"""Where the machine has no cores for 2 vCPU: two threads of 0.25 vCPU each, a CPU each, against one. Only rows of named
threads can be given such a shape, so one of ours joins; what refuses it says so."""


def shapes(config: Config) -> tuple[tuple[str, ...], str]:
    """The shapes that this machine can give, and what to say of them."""
    wide = config.shape(SHAPES[1])
    try:
        cpu_plan(wide.vcpus, wide.mode, topology(usable_cpus()))
    except ShapeRefused as refused:
        said = (
            f"{SHAPES[1]} is not to be had here ({refused}): {STAND_INS[1]} : {STAND_INS[0]} stands in for 2 vCPU : 1"
        )
        return (SHAPES[0], *STAND_INS), said
    return SHAPES, ""


def ask_to_reproduce(config: Config, timing: str | None, wanted: tuple[str, ...]) -> Ask:
    """Every row at every shape, interleaved; brackets are confirmed at the full timing, first ones else."""
    of_verb = config.defaults.verbs["reproduce"]
    rows = of_verb.variants or ()
    ladder = "confirm" if (timing or of_verb.timing) == "full" else "default"
    variants = rows if SHAPES[1] in wanted else (*rows, STAND_IN_ROW)
    return Ask("reproduce", variants, wanted, timing, ladder=ladder)
