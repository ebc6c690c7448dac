# Every verb sets up what it needs, once. `make help` lists them.

# The start of everything; environments get their own interpreter.
PYTHON ?= python3
PYTEST_ARGS ?=

# Harness and tests always run on a GIL build, the same for every row.
LAB = PYTHON="$(PYTHON)" PYTHON_CHOSEN=$(if $(filter file default,$(origin PYTHON)),,yes) exec sh experiment/setup/start.sh

# An option only where its variable is set: $(call option,VARIANT,variant)
option = $(if $($(1)),--$(2) "$($(1))")

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help experiment ladder compare reproduce cliff results report notebooks conformance test check bench profile doctor lock clean

help: ## list verbs and variables
	@echo "make VERB [VARIABLE=value …]"
	@sed -n 's/^\([a-z][a-z]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r verb what; do printf '  %-12s %s\n' "$$verb" "$$what"; done
	@echo "variables"
	@sed -n 's/^#: \([A-Z_]*\) */\1\t/p' Makefile | while IFS='	' read -r name what; do printf '  %-12s %s\n' "$$name" "$$what"; done

#: VARIANT      row of experiments.toml (gil)
#: SHAPE        what the gateway is given: cpuset-1 cpuset-2 quota-1 … (cpuset-1)
#: TIMING       full, quick or smoke (quick)
#: SESSIONS     one point, or a list: 200,300 (a ladder)
#: VARIANTS     rows to compare: gil,gil-h1,mt; ratios are to the first
#: ROUNDS       how often compare measures each row's cost (3)
#: LADDER       compare: ladder of experiments.toml, or no for costs alone (confirm)
#: RUNS         compare: stored runs, results/a,results/b
#: RUN          results, report, notebooks: folder of a run, or its evidence file
#: RESUME       folder of an interrupted run to take up again
#: DRY_RUN      1: print the points, the time each takes and the total; start nothing
#: PRUNE        results: remove runs begun more than so many days ago
#: TARGET       ws://host:port of a gateway that already runs; none is started
#: HARNESS      shared: load and simulator may share the gateway's cores; gives no ceiling
#: INFER_PORT   port the simulator is served on
#: PROFILER     py-spy, remote, memray, sched or forensics (remote)
#: RESULTS      folder the run is stored in (results)
#: PYTHON       CPython >= 3.11 to start set-up with (python3)
#: PYTEST_ARGS  passed on to pytest
#: LAB_RETRY    1: try again what failed to install or build within the last day

CAMPAIGN = $(call option,TIMING,timing) $(call option,RESULTS,results) $(call option,RESUME,resume) \
	$(if $(filter-out 0,$(DRY_RUN)),--dry-run)
SUBJECT = $(call option,VARIANT,variant) $(call option,SHAPE,shape) $(call option,TARGET,target) \
	$(call option,HARNESS,harness) $(call option,INFER_PORT,infer-port)

experiment: ## measure a variant: table, first bracket, and RESULT results/<run> as the last line
	@$(LAB) harness -- -m experiment $(SUBJECT) $(call option,SESSIONS,sessions) $(CAMPAIGN)

ladder: ## find a variant's ceiling: confirmed, borderline, first solid fail
	@$(LAB) harness -- -m experiment ladder $(SUBJECT) $(CAMPAIGN)

compare: ## rows side by side (VARIANTS, ROUNDS, LADDER), interleaved in time; or stored runs (RUNS)
	@$(LAB) harness -- -m experiment compare $(call option,VARIANTS,variants) $(call option,SHAPE,shape) \
		$(call option,SESSIONS,sessions) $(call option,ROUNDS,rounds) $(call option,LADDER,ladder) \
		$(call option,HARNESS,harness) $(call option,RUNS,runs) $(CAMPAIGN)

reproduce: ## the public benchmark's rows beside ours, in its shapes (TIMING: full, or quick for first brackets)
	@$(LAB) harness -- -m experiment reproduce $(CAMPAIGN)

cliff: ## who loses wake-ups, by Granian version and by factor: stalls, rates, forensics (DRY_RUN says how long)
	@$(LAB) profiles -- -m profiles cliff $(call option,RESULTS,results) $(if $(filter-out 0,$(DRY_RUN)),--dry-run)

report: ## a stored run (RUN) as a folder and a zip, ready to attach to an issue
	@$(LAB) profiles -- -m profiles report $(call option,RUN,run)

results: ## list stored runs; RUN: its table and picture again; PRUNE: remove old ones
	@$(LAB) harness -- -m experiment results $(call option,RUN,run) $(call option,PRUNE,prune) $(call option,RESULTS,results)

notebooks: ## execute every notebook without a browser (RUN)
	@$(LAB) notebooks -- -m experiment notebooks $(call option,RUN,run) $(call option,RESULTS,results)

conformance: ## the wire contract as a black box, one line per rule (VARIANT or TARGET, INFER_PORT)
	@$(LAB) harness -- -m experiment conformance $(call option,VARIANT,variant) $(call option,TARGET,target) \
		$(call option,INFER_PORT,infer-port)

test: check ## check, then every test
	@$(LAB) test -- -m pytest $(PYTEST_ARGS)

check: ## ruff and mypy
	@$(LAB) test -- -m ruff check --quiet .
	@$(LAB) test -- -m ruff format --check --quiet .
	@$(LAB) test -- -m mypy

bench: ## what core, kernel, load generator and simulator cost by themselves
	@$(LAB) test -- -m experiment bench

profile: ## flame graphs or scheduling of one point (VARIANT, SESSIONS, PROFILER), and what profiling it cost
	@$(LAB) profiles -- -m profiles profile $(call option,PROFILER,profiler) $(call option,VARIANT,variant) \
		$(call option,SHAPE,shape) $(call option,TIMING,timing) $(call option,SESSIONS,sessions) \
		$(call option,HARNESS,harness) $(call option,RESULTS,results)

doctor: ## what is here, what is missing, how to mend it
	@$(LAB) harness --survey-on-failure -- -m experiment doctor

lock: ## compile requirements/*.txt from pyproject.toml again
	@$(LAB) --lock

clean: ## remove environments, tools and caches of the checkout; results and built interpreters stay
	@rm -rf .lab .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
