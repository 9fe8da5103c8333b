# What a newcomer types. Each name is a script; scripts/setup installs what is missing.

# How many times their usual work the searching tests do in a soak.
SOAK ?= 50

.PHONY: help demo test bench lint soak setup

help:
	@echo "make demo    the main job on real input"
	@echo "make test    build everything, run every test"
	@echo "make bench   the benchmarks (AREA=memory for one area)"
	@echo "make lint    formatters, linters, documentation"
	@echo "make soak    every test, those that search SOAK=50 times as long"

setup:
	@scripts/setup

demo: setup
	@scripts/demo

test: setup
	@scripts/test

bench: setup
	@scripts/bench $(AREA)

lint: setup
	@scripts/lint

soak: setup
	@QRT_SOAK=$(SOAK) scripts/test
