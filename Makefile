# What a newcomer types. Each name is a script; scripts/setup installs what is missing.

# How many times their usual work the searching tests do in a soak.
SOAK ?= 50

.PHONY: help demo test bench header install lint musl sanitize soak setup

help:
	@echo "make demo    the main job on real input"
	@echo "make test    build everything, run every test"
	@echo "make bench   the benchmarks (AREA=memory for one area)"
	@echo "make install the C library and its headers (PREFIX=/usr/local, DESTDIR=, LIBDIR=)"
	@echo "make header  include/queue_runtime.h and ffi/symbols.txt from the sources of the C ABI"
	@echo "make lint    formatters, linters, documentation"
	@echo "make sanitize the C ABI, Rust side too, under AddressSanitizer"
	@echo "make musl    processes of glibc and of musl on one store"
	@echo "make soak    every test, those that search SOAK=50 times as long"

setup:
	@scripts/setup

demo: setup
	@scripts/demo

test: setup
	@scripts/test

bench: setup
	@scripts/bench $(AREA)

header: setup
	@cargo run --quiet --release -p queue-runtime-ffi --example header

install: setup
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" LIBDIR="$(LIBDIR)" scripts/install

sanitize: setup
	@scripts/sanitize

musl: setup
	@scripts/test-musl

lint: setup
	@scripts/lint

soak: setup
	@QRT_SOAK=$(SOAK) LIMIT=7200 scripts/test
