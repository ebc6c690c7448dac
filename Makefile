# Every verb sets up what it needs, once. `make help` lists them.

# The start of everything; environments get their own interpreter.
PYTHON ?= python3
PYTEST_ARGS ?=

# Harness and tests always run on a GIL build, the same for every row.
LAB = PYTHON="$(PYTHON)" PYTHON_CHOSEN=$(if $(filter file default,$(origin PYTHON)),,yes) exec sh experiment/setup/start.sh

# VERB.takes lists a verb's variables, once: $(options) in its recipe makes the options of those that are set
# (INFER_PORT=9001: --infer-port "9001"), help shows who takes what, and the end of this file refuses the rest.
lower = $(shell echo $(1) | sed 'y/ABCDEFGHIJKLMNOPQRSTUVWXYZ_/abcdefghijklmnopqrstuvwxyz-/')
valued = $(if $($(1)),--$(call lower,$(1)) "$($(1))")
switch = $(if $(filter-out 0,$($(1))),--$(call lower,$(1)))
options = $(strip $(foreach name,$($@.takes),$(call $(if $(filter DRY_RUN AA INSTRUCTIONS,$(name)),switch,valued),$(name))))

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
VERBS := experiment ladder compare reproduce bench conformance profile soak faults overload cliff survey bisect collector \
	sharing results report notebooks help test test-all check doctor lock clean
.PHONY: $(VERBS)

#: VARIANT      row of experiments.toml (gil)
#: SHAPE        what the gateway is given: cpuset-1 cpuset-2 quota-1 … (cpuset-1)
#: TIMING       full, quick or smoke (quick)
#: SESSIONS     one point, or a list: 200,300 (a ladder)
#: VARIANTS     rows to compare: gil,gil-h1,mt; ratios are to the first
#: ROUNDS       how often compare measures each row's cost (3)
#: LADDER       ladder of experiments.toml, or no for costs alone (confirm)
#: START        a ladder's first rung (a probe of a few seconds says it)
#: AA           1: run compare's first row twice, and print its ratio to itself beside every ratio
#: RUNS         stored runs to compare: results/a,results/b
#: RUN          folder of a run, or its evidence file
#: RESUME       folder of an interrupted run to take up again
#: DRY_RUN      1: print the points, the time each takes and the total; start nothing
#: PRUNE        remove runs begun more than so many days ago
#: TARGET       ws://host:port of a gateway that already runs; none is started
#: HARNESS      shared: load and simulator may share the gateway's cores; gives no ceiling
#: RECEIVE      sender or gateway: whose CPUs do the kernel's work of receiving (the shape says)
#: PYTHONS      interpreters that every row runs on: 3.14t,3.15t,/path/to/build/bin/python
#: WITH         laid over rows' packages: "dist/x.whl uvloop==0.23.0"; one row's: mt+dist/x.whl
#: INFER_PORT   port the simulator is served on
#: KEEP_ENV     environment variables that every process gets all the same: PYTHONMALLOC,LD_PRELOAD
#: PROFILER     remote, sampling (3.15), py-spy, memray, sched, collector, forensics; or several
#: MINUTES      how long soak measures (10)
#: INSTRUCTIONS 1: bench counts instructions under valgrind, and nothing else
#: PACKAGE      bisect's: whose releases are halved, FROM the oldest TO the newest
#: FROM         the oldest of those releases
#: TO           the newest of them
#: CELL         of [cliff.cells]: the server that stalls or does not (2.7.4)
#: COST         instead of stalls, the ratio of costs to tell from 1: 1.05
#: SETS         some of collector's or sharing's sets, as DRY_RUN names them: builds,stacks; core,mt
#: BEFORE       commit that runs beside this one in sharing, or in bench: did a change help?
#: RESULTS      folder that runs are stored in (results)
#: PYTEST_ARGS  passed on to pytest
#: PYTHON       CPython >= 3.11 to start set-up with (python3)
#: LAB_RETRY    1: try again what failed to install or build within the last day

hash := \#
known := $(shell sed -n 's/^$(hash): \([A-Z_]*\) .*/\1/p' Makefile)
# These act on set-up, so every verb takes them.
everywhere := PYTHON LAB_RETRY
CAMPAIGN := TIMING RESULTS RESUME DRY_RUN KEEP_ENV
SUBJECT := VARIANT SHAPE TARGET HARNESS RECEIVE INFER_PORT PYTHONS WITH

# What changes every process is asked for at each call, not left behind in a shell.
$(foreach name,KEEP_ENV PYTHONS WITH,$(if $(filter command,$(origin $(name))),,$(eval $(name) :=)))

#= measure

experiment.takes := $(SUBJECT) SESSIONS START $(CAMPAIGN)
experiment: ## measure a variant: table, first bracket; the last line is RESULT results/<run>
	@$(LAB) harness -- -m experiment $(options)

ladder.takes := $(SUBJECT) START $(CAMPAIGN)
ladder: ## find a variant's ceiling: confirmed, borderline, first solid fail
	@$(LAB) harness -- -m experiment ladder $(options)

compare.takes := VARIANTS SHAPE SESSIONS ROUNDS LADDER START AA HARNESS RECEIVE PYTHONS WITH RUNS $(CAMPAIGN)
compare: ## rows side by side, interleaved in time (VARIANTS); or stored runs (RUNS)
	@$(LAB) harness -- -m experiment compare $(options)

reproduce.takes := $(CAMPAIGN)
reproduce: ## the public benchmark's rows beside ours, in its shapes (TIMING: full unless given)
	@$(LAB) harness -- -m experiment reproduce $(options)

bench.takes := INSTRUCTIONS BEFORE
bench: ## what each piece costs by itself, and how many sessions the harness carries here
	@$(LAB) test -- -m experiment bench $(options)

conformance.takes := VARIANT TARGET INFER_PORT PYTHONS WITH KEEP_ENV RESULTS
conformance: ## the wire contract as a black box, one line per rule (VARIANT or TARGET)
	@$(LAB) harness -- -m experiment conformance $(options)

#= explain

profile.takes := PROFILER VARIANT SHAPE TIMING SESSIONS HARNESS RECEIVE PYTHONS WITH KEEP_ENV RESULTS
profile.needs = $(if $(SESSIONS),,SESSIONS=200; a profile is of one point)
profile: ## flame graphs or scheduling of one point (SESSIONS), and what profiling it cost
	@$(LAB) profiles -- -m profiles profile $(options)

soak.takes := MINUTES VARIANT SHAPE SESSIONS HARNESS RECEIVE PYTHONS WITH KEEP_ENV RESULTS
soak.needs = $(if $(SESSIONS),,SESSIONS=200; a soak is one point)
soak: ## one long point (SESSIONS): do memory, descriptors, threads and latency stay flat
	@$(LAB) profiles -- -m profiles soak $(options)

faults.takes := VARIANTS RESULTS DRY_RUN
faults: ## rows under load while clients and the inference server misbehave: what others see
	@$(LAB) profiles -- -m profiles faults $(options)

overload.takes := VARIANTS RESULTS DRY_RUN
overload: ## rows at more load than their ceiling: does a limit on sessions keep the SLO
	@$(LAB) profiles -- -m profiles overload $(options)

cliff.takes := RESULTS RESUME DRY_RUN
cliff: ## who loses wake-ups, by Granian version and by factor: stalls, rates, forensics
	@$(LAB) profiles -- -m profiles cliff $(options)

survey.takes := RESULTS RESUME DRY_RUN
survey: ## which servers lose wake-ups: each server and build under the cliff's bursts
	@$(LAB) profiles -- -m profiles survey $(options)

bisect.takes := PACKAGE FROM TO CELL COST VARIANT PYTHONS RESULTS RESUME DRY_RUN
bisect.needs = $(if $(PACKAGE)$(PYTHONS)$(RESUME),,PACKAGE=granian FROM=2.7.4 TO=2.8.7, or PYTHONS in order)
bisect: ## which release of a package, or which interpreter, changed it: stalls, or COST
	@$(LAB) profiles -- -m profiles bisect $(options)

collector.takes := SETS PYTHONS RESULTS DRY_RUN
collector: ## what is left between gil and mt on one core: who frees what, and tails
	@$(LAB) profiles -- -m profiles collector $(options)

sharing.takes := SETS PYTHONS BEFORE WITH RESULTS DRY_RUN
sharing: ## what threads of one process share: loops side by side, as threads and as processes
	@$(LAB) profiles -- -m profiles sharing $(options)

#= read

results.takes := RUN PRUNE RESULTS
results: ## list stored runs; RUN: its table and picture again; PRUNE: remove old ones
	@$(LAB) harness -- -m experiment results $(options)

report.takes := RUN
report.needs = $(if $(RUN),,RUN=results/<run>; make results lists them)
report: ## a stored run (RUN) as a folder and a zip, ready to attach to an issue
	@$(LAB) profiles -- -m profiles report $(options)

notebooks.takes := RUN RESULTS
notebooks: ## execute every notebook without a browser (RUN)
	@$(LAB) notebooks -- -m experiment notebooks $(options)

takers = $(if $(filter $(1),$(everywhere)),every verb,$(strip $(foreach verb,$(VERBS),$(if \
	$(filter $(1),$($(verb).takes)),$(verb)))))
# The first sed makes two columns of `verb: … ## what it does`, and headings of `#= group`.
help: ## list verbs and variables
	@echo "make VERB [VARIABLE=value …]"
	@sed -n -e 's/^#= //p' -e '/^[a-z-]*:.*## /{s/:.*## /             /;s/^\(.\{13\}\) */  \1/p;}' Makefile
	@echo "variables, each with the verbs that take it"
	@$(foreach name,$(known),sed -n 's/^#: \($(name) .*\)/  \1/p' Makefile; echo "      $(call takers,$(name))" | sed 's/^\(.\{60,98\}\) /\1\n      /';)

#= keep

test.takes := PYTEST_ARGS
test: check ## check, then every test but the slow
	@$(LAB) test -- -m pytest $(PYTEST_ARGS)

test-all: ## every test on every CPython that is here, minutes for each; writes docs/test-all.md
	@$(LAB) test -- -m tests.on_every_python

check: ## ruff and mypy
	@$(LAB) test -- -m ruff check --quiet .
	@$(LAB) test -- -m ruff format --check --quiet .
	@$(LAB) test -- -m mypy

doctor: ## what is here, what is missing, how to mend it
	@$(LAB) harness --survey-on-failure -- -m experiment doctor

lock: ## compile requirements/*.txt from pyproject.toml again
	@$(LAB) --lock

clean: ## remove environments, tools and caches; results and built interpreters stay
	@rm -rf .lab .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A variable that would do nothing, or one that is missing, ends make here, before any recipe.
# Given are those of the command line, without make's own and what shells' completion sets. Below another make nothing
# counts as given: it hands its whole command line down through the environment, and that looks the same.
own := SHELL CURDIR VPATH MFLAGS GNUMAKEFLAGS MAKE% .% __% -%
ifeq ($(MAKELEVEL),0)
given := $(filter-out $(own),$(sort $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))))
endif
verbs := $(filter $(VERBS),$(or $(MAKECMDGOALS),$(.DEFAULT_GOAL)))
taken := $(filter $(foreach verb,$(verbs),$($(verb).takes)),$(known))
unknown := $(firstword $(filter-out $(known),$(given)))
# Several verbs at once: one that takes it is enough.
untaken := $(if $(verbs),$(firstword $(filter-out $(taken) $(everywhere),$(given))))
lacking := $(firstword $(foreach verb,$(verbs),$(if $($(verb).needs),$(verb))))

ifneq ($(unknown),)
nearest := $(shell awk -f experiment/setup/nearest.awk '$(subst ','\'',$(unknown))' $(known) 2>/dev/null)
refusal := unknown variable $(unknown)$(if $(nearest),; nearest known: $(nearest),; make help lists all)
else ifneq ($(untaken),)
refusal := make $(verbs) takes no $(untaken); it takes $(or $(taken),no variable but $(everywhere))
else ifneq ($(lacking),)
refusal := make $(lacking) needs $($(lacking).needs)
endif
ifneq ($(refusal),)
# The reason as the last line of standard output, as from every verb; $(error) then ends make with status 2.
$(info EXIT 2 $(refusal))
$(error $(refusal))
endif
