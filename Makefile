# One command per intent. Everything it needs is set up on the way; progress goes to standard error.
PYTHON ?= python3
RUN := .venv/bin/python
MAKEFLAGS += --no-print-directory
# Else every program that a test starts would compile again whatever it imports, in seconds instead of a tenth of one.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help demo test check bench lock setup clean

FLOOR ?=
K ?=
NAME ?=
ONCE ?=

help: ## List these commands
	@echo "Butai puts any branch on stage. The commands, each of which sets up what it needs:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '%-14s %s\n' "$$name" "$$text"; done

demo: setup ## Run the main job on *.localhost until Ctrl-C (ONCE=1: check itself and exit)
	@$(RUN) -m tools.demo $(if $(ONCE),--once)

test: .python ## Run every floor of tests (FLOOR=unit,e2e and K=words narrow it)
	@$(RUN) -m tools.floors $(if $(FLOOR),--floor "$(FLOOR)") $(if $(K),-k "$(K)")

check: .python ## Format, lint, types, layers, unit tests, docs: under 30 s, no Docker
	@$(RUN) -m tools.check

bench: setup ## Measure against the baselines: one JSON line each on standard output (NAME=one)
	@$(RUN) -m bench $(NAME)

lock: .python ## Resolve requirements/*.in again, with hashes
	@$(RUN) -m tools.lock

setup: .python ## Only set up: virtual environment, Docker engine, images
	@$(RUN) -m tools.engine
	@$(RUN) -m tools.images

clean: ## Remove what was made in this folder; Docker's images stay
	@rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .demo build dist test-output *.egg-info
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Phony, for a stamp that make could compare would miss a change of interpreter; when nothing changed it takes 0.1 s.
.PHONY: .python
.python:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: $(PYTHON) is not installed." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=/path/to/it." >&2; exit 1; }
	@$(PYTHON) -m tools.venv
