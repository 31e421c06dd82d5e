# muxbench: every task is one target; `make help` lists them.
# Variables: BUILD (where to build), CC, CLANG, PROFILE (quick or full), PREFIX, PYTHON.

BUILD   ?= build
PYTHON  ?= python3
CLANG   ?= clang
PROFILE ?= quick
PREFIX  ?= /usr/local
WARN    := -Wall -Wextra -Wshadow -Wconversion -Werror
CFLAGS  ?= -O2 -g
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) $(SANITIZE) -Iservers/core -MMD -MP -pthread
ALL_LDFLAGS = $(SANITIZE) $(LDFLAGS) -pthread

# A page names the libraries it needs in its thesis, as `pkg-config: NAME...`, or as `libraries: NAME...` if pkg-config
# does not know them (libev on Debian); no other file is touched for it. If it has a half that runs in the kernel,
# servers/bpf has that under the same name, and clang compiles it.
packages  = $(shell sed -n 's|.*pkg-config: \([^*]*\).*|\1|p' $(1))
libraries = $(shell sed -n 's|.*libraries: \([^*]*\).*|\1|p' $(1))
flags_of = $(if $(call packages,$(1)),$(shell pkg-config $(2) $(call packages,$(1)))) $(if $(findstring --libs,$(2)),$(addprefix -l,$(call libraries,$(1))))
lacks_libs  = $(call lacks_packages,$(1)) $(foreach name,$(call libraries,$(1)),$(if $(findstring /,$(shell $(CC) -print-file-name=lib$(name).so)),,the linker finds no $(name)))
lacks_packages = $(if $(call packages,$(1)),$(shell pkg-config --exists $(call packages,$(1)) || echo pkg-config finds no $(call packages,$(1))))
lacks_clang = $(if $(wildcard servers/bpf/$(notdir $(1))),$(if $(shell command -v $(CLANG)),,there is no $(CLANG)))
lacks       = $(strip $(or $(strip $(call lacks_libs,$(1))),$(call lacks_clang,$(1))))
has_libs    = $(if $(call lacks,$(1)),,$(1))

SERVER_PAGES := $(foreach page,$(wildcard servers/*.c),$(call has_libs,$(page)))
LAB_PAGES := $(foreach page,$(wildcard servers/lab/*.c),$(call has_libs,$(page)))
PROGRAMS := $(SERVER_PAGES:servers/%.c=$(BUILD)/servers/%) $(LAB_PAGES:servers/lab/%.c=$(BUILD)/lab/%)
PROBE_PARTS := bench/probes/probe.c
EVERY_PROBE := $(filter-out $(PROBE_PARTS),$(wildcard bench/probes/*.c))
PROBE_PAGES := $(foreach page,$(EVERY_PROBE),$(call has_libs,$(page)))
PROBES   := $(PROBE_PAGES:bench/probes/%.c=$(BUILD)/probes/%)
LEFT_OUT := $(filter-out $(SERVER_PAGES) $(LAB_PAGES) $(PROBE_PAGES),$(wildcard servers/*.c servers/lab/*.c) $(EVERY_PROBE))
CORE     := $(patsubst servers/core/%.c,$(BUILD)/core/%.o,$(wildcard servers/core/*.c))
LOADGEN  := $(patsubst loadgen/%.c,$(BUILD)/loadgen.d/%.o,$(wildcard loadgen/*.c))

PRELOADS := $(patsubst bench/tools/preload/%.c,$(BUILD)/preload/%.so,$(wildcard bench/tools/preload/*.c))

.DEFAULT_GOAL := all
.PHONY: all help
.DELETE_ON_ERROR:

all: $(PROGRAMS) $(if $(LOADGEN),$(BUILD)/loadgen) $(BUILD)/calibrate $(BUILD)/micro $(PRELOADS) $(if $(SANITIZE),,$(PROBES))  ## build every server, the load generator, the probes and the small tools
	@$(foreach page,$(LEFT_OUT),echo "left out: $(page) ($(call lacks,$(page)))";)

help:  ## list every target with one line
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

# --- building -----------------------------------------------------------------------------------------------------

$(BUILD)/core/%.o: servers/core/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/core.a: $(CORE)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/servers/%: $(BUILD)/servers.d/%.o $(BUILD)/core.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call flags_of,servers/$*.c,--libs)

$(BUILD)/servers.d/%.o: servers/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -I$(@D) $(call flags_of,$<,--cflags) -c -o $@ $<

# The kernel's half, as bytes that the page includes. Its headers want <asm/types.h>, which clang looks for elsewhere.
BPF := $(wildcard servers/bpf/*.c)
$(BPF:servers/bpf/%.c=$(BUILD)/servers.d/%.o): $(BUILD)/servers.d/%.o: $(BUILD)/servers.d/%.bpf.inc

$(BUILD)/servers.d/%.bpf.inc: servers/bpf/%.c
	@mkdir -p $(@D)
	$(CLANG) -target bpf -O2 -g -Wall -Wextra -Werror -idirafter /usr/include/$(shell $(CC) -print-multiarch) -c -o $(@:.inc=.o) $<
	od -An -v -tx1 $(@:.inc=.o) | sed 's/ \(..\)/0x\1,/g' > $@

$(BUILD)/lab/%: $(BUILD)/lab.d/%.o $(BUILD)/core.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call flags_of,servers/lab/$*.c,--libs)

$(BUILD)/lab.d/%.o: servers/lab/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(call flags_of,$<,--cflags) -c -o $@ $<

$(BUILD)/loadgen.d/%.o: loadgen/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Iloadgen -c -o $@ $<

$(BUILD)/loadgen: $(LOADGEN)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -ljansson -luring -lm

$(BUILD)/calibrate: $(BUILD)/tools.d/calibrate.o $(BUILD)/core.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^

$(BUILD)/tools.d/%.o: bench/tools/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Loaded before the C library of a server that is watched, sanitized or not: so without sanitizers themselves.
$(BUILD)/preload/%.so: bench/tools/preload/%.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -fPIC -shared $(LDFLAGS) -o $@ $<

MICRO_PARTS := $(patsubst bench/tools/micro/%.c,$(BUILD)/micro.d/%.o,$(wildcard bench/tools/micro/*.c))

$(BUILD)/micro: $(MICRO_PARTS)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -luring

$(BUILD)/micro.d/%.o: bench/tools/micro/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# One statement about the kernel each, for the claims. Sanitizers have nothing to say of the kernel: who writes a probe
# builds it so once by hand, make probes BUILD=build/asan SANITIZE=-fsanitize=address,undefined
.PHONY: probes
probes: $(PROBES)  ## build the probes: a page of C for each statement about the kernel

$(BUILD)/probes/%: $(BUILD)/probes.d/%.o $(PROBE_PARTS:bench/probes/%.c=$(BUILD)/probes.d/%.o)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call flags_of,bench/probes/$*.c,--libs)

$(BUILD)/probes.d/%.o: bench/probes/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(call flags_of,$<,--cflags) -c -o $@ $<

# What a server is held against: test servers, plain loops, slowed variants. None is a model.
ARMS := $(patsubst tests/arms/%.c,$(BUILD)/arms/%,$(foreach page,$(wildcard tests/arms/*.c),$(call has_libs,$(page))))

$(BUILD)/arms/%: tests/arms/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call flags_of,$<,--cflags --libs)

# epoll_lt with a price added to each reply: slowed-LOOPS-CALLS; plain `slowed` adds none.
SLOWED_BY = -DSLOWED_LOOPS=$(word 1,$(subst -, ,$*)) -DSLOWED_CALLS=$(word 2,$(subst -, ,$*))

$(BUILD)/arms.d/slowed-%.o: tests/arms/slowed.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SLOWED_BY) -c -o $@ $<

$(BUILD)/arms/slowed-%: $(BUILD)/arms.d/slowed-%.o $(BUILD)/core.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^

$(BUILD)/arms/slowed: $(BUILD)/arms/slowed-0-0
	cp $< $@

TEST_PARTS += $(ARMS)

# The load generator's own way of recording, timed by itself.
$(BUILD)/arms/record_cost: tests/arms/record_cost.c $(filter-out $(BUILD)/loadgen.d/main.o,$(LOADGEN))
	@mkdir -p $(@D)
	$(CC) -Iloadgen $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.c %.o,$^) -ljansson -luring -lm

-include $(wildcard $(BUILD)/arms/*.d $(BUILD)/arms.d/*.d)

# Before anything is compiled, once per build folder: is the build tier here?  make reads this stamp as a makefile, so
# it starts anew after an installation, when pkg-config finds more than before.
ifneq ($(filter-out help clean list plots docs bench test,$(or $(MAKECMDGOALS),all)),)
include $(BUILD)/required.mk
$(BUILD)/required.mk: bench/require.sh
	@mkdir -p $(@D)
	@bench/require.sh build
	@echo '# bench/require.sh build found everything' > $@
endif

.SECONDARY:
-include $(wildcard $(BUILD)/core/*.d $(BUILD)/servers.d/*.d $(BUILD)/lab.d/*.d $(BUILD)/loadgen.d/*.d $(BUILD)/tools.d/*.d $(BUILD)/micro.d/*.d $(BUILD)/probes.d/*.d)

.PHONY: asan tsan clean
asan:  ## build everything under AddressSanitizer and UndefinedBehaviorSanitizer, in build/asan
	$(MAKE) all $(WITH_ASAN) BUILD=$(BUILD)/asan CFLAGS="-O1 -g -fno-omit-frame-pointer" SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all"

tsan:  ## build everything under ThreadSanitizer, in build/tsan
	$(MAKE) all BUILD=$(BUILD)/tsan CFLAGS="-O1 -g -fno-omit-frame-pointer" SANITIZE="-fsanitize=thread"

clean:  ## remove what was built; records and plots stay
	rm -rf $(BUILD)

# --- measuring (the bench layer; python3 -m bench --help says more) -------------------------------------------------

BENCH = BUILD=$(BUILD) $(PYTHON) -m bench

.PHONY: bench calibrate compare list doctor plots docs demo gate claims claim startup anatomy crosscheck reach micro print-flags
bench:  ## run the experiments of PROFILE (quick: three minutes; full: an hour) and show what they say
	@bench/require.sh build bench
	@$(MAKE) --no-print-directory -j $(shell nproc) all
	@$(BENCH) run $(PROFILE)

list: all  ## list the models: how each waits, what it speaks, how many clients it serves at once
	@$(BENCH) list models

doctor: all  ## is this host fit to measure on, what would it do to a result, how is it mended
	@bench/require.sh bench
	@$(BENCH) doctor

plots:  ## draw the newest run's figures again (RUN=NAME: another one's)
	@bench/require.sh bench
	@$(BENCH) derive $(RUN)

docs:  ## regenerate docs/figures and the README's tables from the committed sample of records (RUN=NAME: make it the sample; CROSSCHECK=, LAB=, MICRO=, CLAIMS=, GATE=, COMPARISON=NAME: likewise)
	@bench/require.sh bench
	@$(if $(CROSSCHECK),$(BENCH) crosscheck --sample $(CROSSCHECK))
	@$(BENCH) docs $(if $(RUN),--from $(RUN)) $(if $(ANATOMY),--anatomy $(ANATOMY)) $(if $(LAB),--lab $(LAB)) $(if $(MICRO),--micro $(MICRO)) $(if $(CLAIMS),--claims $(CLAIMS)) $(if $(GATE),--gate $(GATE)) $(if $(COMPARISON),--comparison $(COMPARISON))

demo: all  ## the first source document's experiment, live: three clients at once on every model
	@bench/require.sh bench
	@$(BENCH) demo

anatomy: all  ## system calls per request by name, in lock-step and under load, and memory per idle connection (MODELS="a b")
	@bench/require.sh bench test
	@$(BENCH) anatomy $(MODELS)

crosscheck: all  ## the same servers under our load generator, wrk, h2load and ab: do they agree, and why not (half an hour)
	@bench/require.sh bench test
	@$(BENCH) crosscheck $(if $(BLOCKS),--blocks $(BLOCKS))

gate: all  ## the exact tier: system calls, allocations, bytes and instructions per request against the ratchet (MODELS="a b", AGAINST=REV)
	@bench/require.sh bench test
	@$(BENCH) gate $(MODELS) $(if $(AGAINST),--against $(AGAINST))

claims: all  ## published claims put to the test: PROFILE=quick (five minutes, leanings) or full (ninety, verdicts)
	@bench/require.sh build bench
	@$(BENCH) claim run --profile $(PROFILE)

claim: all  ## one claim: make claim ID=P40 (PROFILE=full: a verdict)
	@bench/require.sh build bench
	@$(if $(ID),,echo "which claim? make claim ID=P40" >&2; exit 2)
	@$(BENCH) claim run $(ID) --profile $(PROFILE)

startup: all  ## whole commands under hyperfine: each server's start to READY, and clients that greet at once
	@bench/require.sh bench
	@$(BENCH) startup

reach: all $(ARMS)  ## measure this project's own bars against nginx, wrk and plain loops (GROUP=loadgen: only these)
	@bench/require.sh bench extras
	@$(BENCH) reach $(GROUP)

micro: $(BUILD)/micro  ## the wait alone: select, poll, epoll, io_uring and others over watched and ready descriptors, no TCP
	@bench/require.sh bench
	@$(BENCH) micro

GATE_PARTS = $(BUILD)/loadgen $(BUILD)/calibrate $(BUILD)/arms/plain_epoll

compare: $(GATE_PARTS)  ## is B slower than A? both are built and measured in one run (A=REV B=REV, CELLS=wide, MODELS=a,b)
	@bench/require.sh bench
	@$(BENCH) compare $(A) $(B) $(if $(CELLS),--cells $(CELLS)) $(if $(MODELS),--models $(MODELS))

calibrate: all $(GATE_PARTS) $(BUILD)/arms/slowed-0-0 $(BUILD)/arms/slowed-0-1  ## how often does `make compare` err, and what does it find: the same server twice, and slowed ones (half an hour)
	@bench/require.sh bench
	@$(BENCH) calibrate

print-flags:  # what env.json records of the build
	@echo $(CC) $(ALL_CFLAGS)

# --- testing (tests/run.py --help says more; reports and logs stay in $(BUILD)/test-reports) --------------------------

# What the suites run, built before the first of them starts; other blocks add to it.
TEST_PARTS += all asan tsan
RUN_TESTS  = @BUILD=$(BUILD) $(PYTHON) tests/run.py

.PHONY: test conformance conformance-asan conformance-tsan conformance-lab conformance-liars interop
test:  ## build everything plain and under sanitizers, run every suite: N passed, N failed, N skipped
	@bench/require.sh build bench test
	@$(MAKE) --no-print-directory -j$(shell nproc) $(TEST_PARTS)
	$(RUN_TESTS)

conformance: all  ## one scenario list over every server and every protocol it speaks (SERVERS=a,b: only these)
	$(RUN_TESTS) "conformance plain"

conformance-asan: asan  ## the same over the AddressSanitizer and UndefinedBehaviorSanitizer build, counts scaled down
	$(RUN_TESTS) "conformance asan"

conformance-tsan: tsan  ## the same over the ThreadSanitizer build of the models that have threads
	$(RUN_TESTS) "conformance tsan"

conformance-lab: asan  ## the lab's pages, each choice of each knob once (SERVERS=epoll,workers: only these)
	$(RUN_TESTS) "conformance lab"

conformance-liars: all $(ARMS)  ## servers that break one rule each: does the conformance suite catch every one?
	$(RUN_TESTS) "conformance liars"

interop: all  ## curl, nc, wrk, ab and h2load against every server
	@INTEROP_SECONDS=5 BUILD=$(BUILD) $(PYTHON) tests/run.py interop

# --- the core's own tests: unit tests under cmocka, fuzzing under clang -----------------------------------------------

# Left out where libcmocka or clang is missing: plain `make` and `make bench` need neither.
CMOCKA    := $(shell pkg-config --exists cmocka && echo yes)
UNIT       = $(if $(CMOCKA),$(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c)))
UNIT_PARTS = $(patsubst tests/unit/%.c,$(BUILD)/tests/unit.d/%.o,$(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c)))
UNIT_WRAP  = -Wl,--wrap=block_get,--wrap=block_enlarge,--wrap=block_put,--wrap=malloc,--wrap=realloc
FUZZERS    = $(if $(shell command -v $(CLANG)),$(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c)))
FUZZ_FLAGS = -std=c11 -D_GNU_SOURCE $(WARN) -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined \
	-fno-sanitize-recover=all -Iservers/core -Itests/unit
FUZZED     = $(addprefix servers/core/,block.c body.c conn.c frame.c greet.c http.c http_parse.c) $(addprefix tests/unit/,play.c guard.c ledger.c)
FUZZ_SECONDS ?= 30
WITH_ASAN += unit-programs
TEST_PARTS += unit-programs fuzz-programs

.PHONY: unit unit-programs fuzz fuzz-programs
unit: unit-programs  ## run the unit tests of the protocol core (needs libcmocka)
	@$(if $(UNIT),,echo "unit: pkg-config finds no cmocka; install libcmocka-dev" >&2; exit 1)
	@failed=0; $(foreach test,$(UNIT),$(test) || failed=1;) exit $$failed

unit-programs: $(UNIT)

fuzz: fuzz-programs  ## fuzz the protocol core for FUZZ_SECONDS (default 30; needs clang)
	@$(if $(FUZZERS),,echo "fuzz: no $(CLANG) here; install clang" >&2; exit 1)
	@mkdir -p $(BUILD)/fuzz.corpus
	@$(foreach fuzzer,$(FUZZERS),$(fuzzer) -max_total_time=$(FUZZ_SECONDS) -timeout=10 -verbosity=0 -dict=tests/fuzz/http.dict \
		-artifact_prefix=$(BUILD)/fuzz.corpus/ -print_final_stats=1 $(BUILD)/fuzz.corpus tests/fuzz/corpus &&) true

fuzz-programs: $(FUZZERS)

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit.d/%.o $(BUILD)/tests/unit.d/parts.a $(BUILD)/core.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) $(UNIT_WRAP) -o $@ $^ -lcmocka

$(BUILD)/tests/unit.d/parts.a: $(UNIT_PARTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/tests/unit.d/%.o: tests/unit/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Itests/unit -c -o $@ $<

# The core is compiled anew: the fuzzer steers by the branches that it counts in there.
$(BUILD)/fuzz/%: tests/fuzz/%.c $(FUZZED) $(wildcard servers/core/*.h tests/unit/*.h)
	@mkdir -p $(@D)
	$(CLANG) $(FUZZ_FLAGS) $(UNIT_WRAP) -o $@ $< $(FUZZED)

-include $(wildcard $(BUILD)/tests/unit.d/*.d)

# --- the load generator's own tests: unit tests under cmocka, and the small peers that pytest drives it against --------

LOADGEN_PARTS = $(filter-out $(BUILD)/loadgen.d/main.o,$(LOADGEN))
LOADGEN_UNIT  = $(if $(CMOCKA),$(patsubst tests/loadgen/%.c,$(BUILD)/tests/loadgen/%,$(wildcard tests/loadgen/test_*.c)))
LOADGEN_PEERS = $(patsubst tests/loadgen/%.c,$(BUILD)/arms/%,$(wildcard tests/loadgen/peer*.c))
WITH_ASAN  += loadgen-programs
TEST_PARTS += loadgen-programs

.PHONY: loadgen-programs validate install
loadgen-programs: $(LOADGEN_UNIT) $(LOADGEN_PEERS)

validate: $(BUILD)/loadgen loadgen-programs  ## the load generator against peers of known behaviour, long form (minutes; wants an idle machine)
	@bench/require.sh build bench test
	@LONG=1 BUILD=$(BUILD) $(PYTHON) tests/run.py "loadgen plain"

install: $(BUILD)/loadgen  ## install the load generator and its manual under PREFIX (default /usr/local; DESTDIR is honoured)
	install -D -m 755 $(BUILD)/loadgen $(DESTDIR)$(PREFIX)/bin/loadgen
	install -D -m 644 loadgen/loadgen.1 $(DESTDIR)$(PREFIX)/share/man/man1/loadgen.1

$(BUILD)/tests/loadgen/%: $(BUILD)/tests/loadgen.d/%.o $(LOADGEN_PARTS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka -ljansson -luring -lm

$(LOADGEN_PEERS): $(BUILD)/arms/%: $(BUILD)/tests/loadgen.d/%.o
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^

$(BUILD)/tests/loadgen.d/%.o: tests/loadgen/%.c
	@mkdir -p $(@D)
	$(CC) -Iloadgen $(ALL_CFLAGS) -c -o $@ $<

-include $(wildcard $(BUILD)/tests/loadgen.d/*.d)
