# make book: build the book.  make test: check everything.  Both set up what they need in .venv.
# PYTHON=python3.12 chooses the Python, TORCH_INDEX=<address> another package index for torch.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
READY := .venv/.ready
export OMP_NUM_THREADS ?= 1

.PHONY: book test serve jupyter execute bench matrix lint check-browser clean

book: $(READY)
	@$(BIN)/jupyter-book build . --warningiserror --keep-going || { rm -rf _build/.doctrees; exit 1; }
	@echo "The book is built. Open _build/html/index.html in a browser, or run: make serve"

test: book
	$(BIN)/pytest --quiet --numprocesses 2 --dist loadfile --nbval book
	$(BIN)/pytest --quiet --numprocesses 2 tests

serve: book
	$(PYTHON) -m http.server 8000 --bind 127.0.0.1 --directory _build/html

jupyter: $(READY)
	$(INSTALL) --editable ".[jupyter]"
	$(BIN)/jupyter lab book

execute: $(READY)  # ALL=1 runs the chapters without changes too
	$(BIN)/python scripts/execute.py $(if $(ALL),--all)

bench: .venv-bench/.ready  # with the peers, in an environment of their own
	.venv-bench/bin/python -m bench $(BENCH)

matrix: $(READY)
	$(BIN)/python -m refimpl compare --record

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check-browser: book node_modules/.ready
	node scripts/check_browser.mjs

clean:
	rm -rf _build

# torch first and alone: later on, the installed build satisfies every other package.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(INSTALL) --editable ".[book,test]"
	@touch $@

.venv-bench/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --editable ".[bench]"
	@touch $@

node_modules/.ready: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@
