# The words of this project; the same locally and in continuous integration. `make help` lists them.
SHELL := /bin/bash
MODELS ?= models
PORT ?= 8000
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help serve test test-all bench check fmt dist sanitize clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: ## set up if needed, build, serve models/ on http://127.0.0.1:8000 (MODELS=dir PORT=n)
	@tools/setup
	@exec $(BIN)/ziggurat serve $(MODELS) --host 127.0.0.1 --port $(PORT)

test: ## set up if needed, then every quick test: native, architecture, Python (ARGS="-k word")
	@tools/setup test -- native_tests
	@tools/test quick $(ARGS)

test-all: ## every test there is, the heavy ones too; the result is written to docs/test-results.md
	@tools/setup dev -- native_tests
	@tools/test all $(ARGS)

bench: ## the machine's limits, then whole models against ONNX Runtime (ARGS="squeezenet resnet50")
	@tools/setup test -- limits
	@$(BIN)/python -m benchmarks.limits
	@$(BIN)/python -m benchmarks.models $(ARGS)

check: ## linters, types, formats and layers, without running anything
	@tools/setup dev
	@tools/check

fmt: ## rewrites sources in the house's format
	@tools/setup dev
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .
	@git ls-files -z 'native/*.h' 'native/*.cc' 'native/*.inl' 'tests/native/*.h' 'tests/native/*.cc' | xargs -0r $(BIN)/clang-format -i

dist: ## builds the wheel and the source archive into dist/
	@tools/setup dev
	@$(BIN)/python -m build --outdir dist

sanitize: ## native and model tests under AddressSanitizer and UBSan, then concurrent runs under ThreadSanitizer
	@tools/setup test
	@tools/sanitize address
	@tools/sanitize thread

clean: ## removes the environment and everything built
	rm -rf .venv build dist service/ziggurat/_native*.so
