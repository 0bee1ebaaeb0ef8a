# queue: build, test, demo, benchmark.
#
#   make            build                  (needs the server's development package)
#   make install    install into that server
#   make installcheck   the suites against a server that runs already
#   make test       everything from nothing: installs what is missing, builds,
#                   starts throw-away servers, runs every suite
#   make test TESTS="sql/x.sql test/t/y.pl"   only these
#   make demo       the main job on real input, start to end
#   make bench      the benchmark table
#   make bench-counts   what a message costs in instructions, faults, system calls
#   make sanitize   the suites against a build with assertions and UBSan
#   make fuzz       random statements of several roles (FUZZ_SECONDS, FUZZ_SEED)
#   make check-symbols  every exported C name begins with pgqueue_
#   make check-layers   no file of src/ uses what lies in a folder above its own

EXTENSION = queue
MODULE_big = queue
# The folder of this file: the sources, also when built elsewhere (VPATH).
TOP := $(dir $(lastword $(MAKEFILE_LIST)))

# Scripts of all versions, and from each to the next.
DATA = $(sort $(notdir $(wildcard $(TOP)queue--*.sql)))

SOURCES := $(sort $(patsubst $(TOP)%,%,$(wildcard $(TOP)src/*.c $(TOP)src/*/*.c)))
OBJS := $(SOURCES:.c=.o)
PG_CPPFLAGS = -I$(TOP)src

REGRESS = $(sort $(basename $(notdir $(wildcard $(TOP)sql/*.sql))))
REGRESS_OPTS = --load-extension=queue
ISOLATION = $(sort $(basename $(notdir $(wildcard $(TOP)test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation --load-extension=queue
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

EXTRA_CLEAN = test-output

# Goals that start on a machine without PostgreSQL: each runs a script that
# installs what is missing and then calls make again for the build.
SCRIPT_GOALS = test demo bench bench-counts sanitize fuzz

.PHONY: all $(SCRIPT_GOALS) check-symbols check-layers
all:

test:
	@$(TOP)test/run.sh $(TESTS)

sanitize:
	@COPT="-DUSE_ASSERT_CHECKING -fsanitize=undefined -fsanitize-undefined-trap-on-error" \
		$(TOP)test/run.sh $(TESTS)

fuzz:
	@$(TOP)test/fuzz/run.sh

demo:
	@$(TOP)test/demo/run.sh

bench:
	@$(TOP)test/bench/run.sh

bench-counts:
	@$(TOP)test/bench/counts.sh

ifneq ($(filter-out $(SCRIPT_GOALS),$(or $(MAKECMDGOALS),all)),)
PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# The tests consume outside transaction blocks everywhere, and know it.
installcheck: export PGOPTIONS := $(PGOPTIONS) -c queue.autocommit_warning=off

# PGXS resets this one: the folder of QueueTest.pm.
PROVE_FLAGS += -I test/perl

# PGXS tracks no header dependencies on most platforms, and makes no folders;
# their full names keep a VPATH build from finding those of the sources.
$(OBJS): $(wildcard $(TOP)src/*/*.h)
OBJECT_DIRS := $(addprefix $(CURDIR)/,$(sort $(dir $(OBJS))))
$(OBJS) $(OBJS:.o=.bc): | $(OBJECT_DIRS)
$(OBJECT_DIRS):
	mkdir -p $@

# What PostgreSQL's macros export is listed by its full name; everything else
# must carry our prefix, since all modules of a server share one symbol space.
check-symbols: $(OBJS)
	@nm --extern-only --defined-only $(OBJS) \
		| awk 'NF == 3 { print $$3 }' \
		| { ! grep -vxE '(pg_finfo_)?pgqueue_.*|_PG_init|_PG_fini|Pg_magic_func'; }

check-layers: $(OBJS)
	@$(TOP)test/check_layers.pl $(TOP)src $(OBJS)
endif
