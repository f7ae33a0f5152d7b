# Each line calls the environment script, the command line or pytest. `make help` lists the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
NOTEBOOKS = $(wildcard book/*.ipynb book/_templates/*.ipynb)

# what a reader's shell names for Python or pip belongs to other packages
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONOPTIMIZE PIP_USER PIP_TARGET PIP_PREFIX

.DEFAULT_GOAL := help
.PHONY: help env book pdf lint test verify check js serve train bench lock links release clean clean-env

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

env:  ## .venv from requirements.txt, when it is not current
	@$(PYTHON) .ci/environment.py

book: env  ## run every page that changed, build the HTML, print its address
	@$(BIN)/python -m gahb_book.cli run
	@$(BIN)/python -m gahb_book.cli build

pdf: book  ## the book as one file to take along, printed by Chromium
	@$(BIN)/python -m gahb_book.site.pdf

lint: env
	@echo "== ruff, mypy and nbstripout =="
	@$(BIN)/python -m ruff check . || { echo "mend the above, or: .venv/bin/ruff check --fix ."; exit 1; }
	@$(BIN)/python -m ruff format --check . || { echo "run: .venv/bin/ruff format ."; exit 1; }
	@$(BIN)/python -m mypy || { echo "mend the above: a hint says what is not so"; exit 1; }
	@$(if $(NOTEBOOKS),$(BIN)/python -m nbstripout --keep-id --verify $(NOTEBOOKS) || \
	  { echo "run: .venv/bin/nbstripout --keep-id book/*.ipynb"; exit 1; },echo "no notebooks")

check: lint  ## style, and the tests that need neither pages nor a browser
	@$(BIN)/python -m pytest -n 3 --dist worksteal

js:  ## JavaScript: types, style and tests in node (npm brings the tools of the first two)
	@command -v node >/dev/null || { echo "js: node is not here, nothing is checked"; exit 0; }; \
	if command -v npm >/dev/null; then \
	  { [ -d node_modules ] || npm install --no-audit --no-fund --no-package-lock; } \
	  && npm run --silent types && npm run --silent format || exit 1; \
	else echo "js: npm is not here, types and style are not checked"; fi; \
	node --test tests/js/

test: env  ## style, unit tests, every page, the HTML, each page in the browser
	@status=0; $(MAKE) --no-print-directory lint || status=1; \
	echo "== pytest: unit tests, then every page, the HTML and the browser =="; \
	$(BIN)/python -m pytest -m "not verify or touched" --durations=25 || status=1; exit $$status

verify: env  ## all that can be tested: also kills, SLURM, JupyterLab, Firefox, both themes, kept results anew
	@status=0; $(MAKE) --no-print-directory lint || status=1; \
	$(BIN)/python -m pytest -m "" --durations=25 || status=1; \
	$(BIN)/python -m gahb_book.cli run --fresh || status=1; exit $$status

serve: book  ## show the built book at http://127.0.0.1:8000
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html 8000

train: env  ## train every network that is missing
	@$(BIN)/python -m gahb_book.cli train --all

bench: env  ## time the slow parts
	@for f in $$(grep -l __main__ tests/benchmarks/*.py); do echo "== $$f =="; $(BIN)/python $$f || exit 1; done

lock: env  ## write requirements.txt from .venv
	@{ sed -n '/^#/p' requirements.txt; $(BIN)/python -m pip freeze --exclude-editable \
	  | sed -E 's/\+cpu$$//; s/ @ file:.*//' | LC_ALL=C sort -f; echo "-e ."; } > .lock
	@mv .lock requirements.txt

links: env  ## ask for every address that the book names (needs the internet)
	@$(BIN)/python -m gahb_book.cli build
	@$(BIN)/python -m sphinx -q -b linkcheck _build/stage _build/links

release: book  ## wheel, sources, HTML, notebooks, networks and their SHA-256, in _build/release
	@$(BIN)/python .ci/release.py make

clean:  ## delete what was built
	rm -rf _build .pytest_cache .ruff_cache

clean-env: clean  ## delete what was built and the environment
	rm -rf .venv
