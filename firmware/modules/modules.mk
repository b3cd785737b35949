# The kernel's modules. firmware/Makefile includes this file and links $(MODULE_OBJECTS).
# Each module: one bitcode, compiled at the four levels, linked into four images with header version 2. All are
# embedded at O0; the other levels and the bitcode are on the second disk. NAME:A:B:EXPECTED are the default arguments
# of NAME_main and its result for them.
MODULES := fibonacci:20:0:6765 sum:1:100:5050 compute:100:100:4488500 primes:1000:0:168 \
  fft_1d:5:3:413810 sha256:1024:1:-439130484 matrix_mul:16:0:365 quicksort:128:42:364793253 \
  strops:100:7:-2130319159 regex_dfa:512:9:32 gemm_tile:7:1:-635 physics_step:100:500:239089
ifdef BENCH
MODULES += bench_memory:8:1:2096128 bench_cache:2000:33:16258408 bench_branch:2000:7:63702992
CFLAGS += -DBENCH=1
endif

# Names of modules to embed at every level, and with their bitcode: such a kernel needs no disk for them.
MODULE_TIERS ?=
MODULE_BITCODES ?=

MODULE_NAMES := $(foreach module,$(MODULES),$(firstword $(subst :, ,$(module))))
MODULE_OUT := $(OUT)/modules
MODULE_LEVELS := 0 1 2 3
MODULE_IMAGES := $(foreach name,$(MODULE_NAMES),$(foreach level,$(MODULE_LEVELS),$(MODULE_OUT)/$(name).O$(level).mod))
MODULE_BITCODE := $(foreach name,$(MODULE_NAMES),$(MODULE_OUT)/$(name).bc.wrapped)
MODULE_OBJECTS += $(MODULE_OUT)/embedded.o

# Where the images to embed are taken from: `bareflow pgo` gives others in the place of O0.
MODULE_FROM ?= $(MODULE_OUT)
MODULE_OTHERS := $(if $(filter-out $(MODULE_OUT),$(MODULE_FROM)),$(wildcard $(MODULE_FROM)/*.mod))

MODULE_LINKER := ../bareflow_gdb/build/module.py ../bareflow_gdb/recompile/objects.py

# No built-in rules: make would take a .mod file for Modula-2.
.SUFFIXES:

# Not -O0: that marks every function `optnone`. Without -funroll-loops, -O1 marks every loop as not to be unrolled, and
# O2 and O3 of it are little better than O1.
MODULE_BITCODE_FLAGS := $(TARGET) -std=gnu17 -ffreestanding -fno-builtin -fno-pic -O1 -Xclang -disable-llvm-passes \
  -funroll-loops -g -fno-omit-frame-pointer -Wall -Wextra -Werror -ffile-prefix-map=$(abspath ..)/=
# The level is the only difference between tiers; every tier keeps EBP frames.
MODULE_TIER_FLAGS := $(TARGET) -fno-pic -fno-omit-frame-pointer

$(MODULE_OUT)/%.bc: modules/%.c modules/modules.mk
	@mkdir -p $(@D)
	$(CC) $(MODULE_BITCODE_FLAGS) -emit-llvm -c $< -o $@

$(MODULE_OUT)/%.bc.wrapped: $(MODULE_OUT)/%.bc ../bareflow_gdb/build/wrap.py
	$(RUN_PYTHON) -m bareflow_gdb.build.wrap --input $< --output $@ --name $* --entry $*_main

define module_tier
$(MODULE_OUT)/%.O$(1).o: $(MODULE_OUT)/%.bc
	$$(CC) $$(MODULE_TIER_FLAGS) -O$(1) -c $$< -o $$@

# All tiers share one copy of the writable data: that of O0 sets the layout.
$(MODULE_OUT)/%.O$(1).mod: $(MODULE_OUT)/%.O$(1).o $(if $(filter-out 0,$(1)),$(MODULE_OUT)/%.O0.mod) $(MODULE_LINKER)
	$$(RUN_PYTHON) -m bareflow_gdb.build.module --object $$< --name $$* --entry $$*_main --level $(1) --output $$@ \
	  $(if $(filter-out 0,$(1)),--data-from $(MODULE_OUT)/$$*.O0.mod)
endef
$(foreach level,$(MODULE_LEVELS),$(eval $(call module_tier,$(level))))

$(MODULE_OUT)/embedded.S: $(MODULE_IMAGES) $(MODULE_BITCODE) modules/modules.mk ../bareflow_gdb/build/embed.py \
  $(OUT)/mode $(MODULE_OTHERS)
	$(RUN_PYTHON) -m bareflow_gdb.build.embed --directory $(MODULE_FROM) --output $@ $(MODULES) \
	  --tiers $(MODULE_TIERS) --bitcode $(MODULE_BITCODES)

$(MODULE_OUT)/embedded.o: $(MODULE_OUT)/embedded.S
	$(CC) $(TARGET) -c $< -o $@
