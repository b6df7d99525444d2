# Needs Python 3.11 or newer and make; uses Debian's apt for the clients that tests drive, where the machine has it.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
SOURCES := gateway dav nfs store auth tests bench
APT := qemu-system-x86 busybox-static nfs-common kmod cpio rpcbind sqlite3 lmdb-utils gcc libc6-dev libnfs-utils cadaver curl litmus gvfs gvfs-backends libglib2.0-bin chromium libarchive-tools unzip openssl dbus gnome-keyring $(if $(shell command -v npm),,npm)

PROCESSES := 3  # one more than a small machine has CPUs: some tests wait most of the time

.PHONY: help setup lock run format docs proto check test interop fuzz bench apt

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready  ## Make .venv with everything that Python needs, in the versions of requirements.lock.

.venv/ready: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed (set PYTHON=/path/to/python)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "make: on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
	@touch $@

lock:  ## Write requirements.lock from .venv.
	{ echo '# Versions that the project is tested with, as constraints for pip. Written by `make lock` from a working .venv.'; \
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools | grep -E '^[A-Za-z0-9._-]+==[0-9A-Za-z.+!-]+$$'; \
	} > requirements.lock.new
	mv requirements.lock.new requirements.lock

run: setup  ## Publish a sample dataset in three versions, serve it on loopback, and say how to mount it.
	$(BIN)/python -m gateway.sample conf/sample.txt

format: setup  ## Format the code and repair what the linter can.
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

docs: setup  ## Write the reference pages from the program: commands, settings, exit codes.
	$(BIN)/python -m gateway.reference docs/reference

proto: setup  ## Write what gRPC's services are to Python from their .proto files.
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. gateway/rpc/aetherfs/v1/*.proto

check: setup  ## Format, lint, types, layers, the reference pages and the fast tests.
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	tests/tools/run-tests -q -n 2 --dist worksteal -m 'not slow and not s3 and not kernel and not interop' tests

test: setup apt  ## Every test, after installing the clients that they drive (as root on Debian). With CI set, a skip is a failure.
	tests/tools/run-tests -q -p tests.support.noskip -n $(PROCESSES) --dist worksteal -m 'not exhaustive' tests

interop: setup apt  ## The tests with real clients and a real S3 server alone.
	tests/tools/run-tests -q -p tests.support.noskip -n 2 --dist worksteal -m 'interop or kernel or s3' tests

bench: setup  ## Measure beside restic, nfs-ganesha, rclone, nginx and apache, in a quarter of an hour; FULL=1: at full size, in hours.
	bench/setup.sh
	$(BIN)/python -m bench.store $(if $(FULL),--full)
	$(BIN)/python -m bench.scale $(if $(FULL),--s3,--reps 1)
	$(BIN)/python -m bench.encrypted
	$(BIN)/python -m bench.login
	$(BIN)/python -m bench.nfs $(if $(FULL),--full)
	bench/gateway/run.sh $(if $(FULL),--full)

fuzz: setup  ## Any bytes into every decoder, 1,000,000 cases for each of NFS, every property, and all damage (many minutes).
	$(BIN)/python -m pytest -q -n 2 --hypothesis-profile deep --timeout 7200 tests/fuzz tests/property \
		tests/faults/test_damage_commands.py

apt:
	@missing=$$(for p in $(APT); do dpkg -s $$p 2>/dev/null | grep -q '^Status: install ok installed' || echo $$p; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $$missing >/dev/null; \
	else echo "make: some tests will skip; they need: apt-get install $$(echo $$missing)" >&2; fi
