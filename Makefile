# `make demo` and `make test` are all a newcomer needs; each makes .venv first when it is missing.
# Needs python3 >= 3.11 with venv, make and git. Another Python: make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
T ?=
JOBS ?= 2# test processes of a whole run; a file's tests stay in one

.PHONY: help venv test lint trace mutants bench demo plugin proto limits constraints clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    a pod gets an address: daemon, plugin, kill -9, replay, on the embedded cloud"
	@echo "make test    all tests; make test T='tests/core -k cooldown' passes arguments on to pytest"
	@echo "make lint    ruff, mypy --strict, import contracts, repository rules"
	@echo "make trace   each clause of upstream's behaviour and the tests that show it; T=--missing: those without"
	@echo "make mutants the core's rules, changed one thing at a time: do the tests notice? Half an hour; T=assign: one module"
	@echo "make bench   the benchmarks, as ratios within one run"
	@echo "make plugin  build/plugin/aws-cni, which needs no Python on the node"
	@echo "make proto   ipamd/rpc again from proto/"
	@echo "make limits  the vCPUs of the instance types again, from moto's table"
	@echo "make venv    only $(VENV);  make clean removes it, the caches and .demo"

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON): not found; install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"$(PYTHON) is Python {v[0]}.{v[1]}: want 3.11 or newer; use make PYTHON=python3.11")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module: install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "$(VENV): installing what pyproject.toml asks for, versions from constraints.txt"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(BIN)/python -m pip install -q --disable-pip-version-check --no-input -e '.[all]'
	@touch $@

test: $(STAMP)
	$(BIN)/python -m pytest $(if $(T),$(T),-n $(JOBS) --dist loadfile)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy $(wildcard ipamd cni_plugin tests demo)
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/test_tidy.py

trace: $(STAMP)
	@$(BIN)/python -m tests.trace $(T)

mutants: $(STAMP)
	$(BIN)/python -m tests.mutants $(T)

bench: $(STAMP)
	$(BIN)/python -m tests.bench $(T)

demo: $(STAMP)
	$(BIN)/python -m demo.walk $(T)

plugin: $(STAMP)
	$(BIN)/pyinstaller --noconfirm --log-level WARN --distpath build/plugin --workpath build/pyinstaller \
		deploy/node/aws-cni.spec

proto: $(STAMP)
	$(BIN)/python proto/generate.py ipamd/rpc

limits: $(STAMP)
	$(BIN)/python -m ipamd.ec2.vcpu_source ipamd/ec2/instance_vcpus.json

# The newest versions that pyproject.toml allows, written down; review the difference before committing.
constraints:
	@rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	build/constraints/bin/pip install -q --disable-pip-version-check '.[all]' hatchling editables
	build/constraints/bin/pip freeze --exclude ipamd-emulator > constraints.txt
	@rm -rf build/constraints

clean:
	rm -rf $(VENV) .demo build mutants dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
