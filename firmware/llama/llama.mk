# The language model's unikernel: an application on the kernel's library, with the debug interface. firmware/Makefile
# includes this file; `make llama` builds it.
LLAMA_OUT := $(OUT)/llama
LLAMA_DISK := $(OUT)/llama.img
LLAMA_KERNELS := $(patsubst llama/kernels/%.c,%,$(wildcard llama/kernels/*.c))
LLAMA_LEVELS := O0 O1 O3
LLAMA_HEADERS := $(wildcard llama/*.h kernel/*.h kernel_lib/*.h $(ABI)/*.h)

# Floats are in the kernels only, and each operation on them is one of 32 bits.
LLAMA_FLOATS := -ffp-contract=off -fno-math-errno -fno-jump-tables
LLAMA_KERNEL_CFLAGS = $(filter-out -mno-80387 -O2,$(CFLAGS)) -Illama $(LLAMA_FLOATS)
# Floats stay scalar with SSE, too: emulators compute vectors of them one by one, and slower.
LLAMA_BITCODE_FLAGS := -mno-implicit-float

define llama_level
$(LLAMA_OUT)/%.$(1).o: llama/kernels/%.c $(LLAMA_HEADERS) $(OUT)/mode llama/llama.mk
	@mkdir -p $$(@D)
	$$(CC) $$(LLAMA_KERNEL_CFLAGS) -$(1) -DLEVEL=$(1) -c $$< -o $$@
endef
$(foreach level,$(filter-out $(if $(AHEAD),O0),$(LLAMA_LEVELS)),$(eval $(call llama_level,$(level))))

# For comparisons: AHEAD="-O3 -march=…" has the first level compiled for one CPU ahead of time, of the source that the
# host compiles otherwise; or of AHEAD_FROM/NAME.c where that is.
ifdef AHEAD
LLAMA_AHEAD := --target=i686-unknown-none-elf -std=gnu17 -ffreestanding -fno-builtin -fno-pic -fno-stack-protector -g \
  -fno-omit-frame-pointer -ffunction-sections -Wall -Wextra -Werror -Illama -Ikernel -I$(ABI) $(LLAMA_FLOATS)
$(LLAMA_OUT)/%.O0.o: llama/kernels/%.c $(LLAMA_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(LLAMA_AHEAD) $(AHEAD) -c $(firstword $(wildcard $(AHEAD_FROM)/$*.c) $<) -o $@
	$(OBJCOPY) --rename-section=.text.$*_main=jit_$*_O0 --redefine-sym=$*_main=$*_O0 $@
endif

$(LLAMA_OUT)/%.bc: llama/kernels/%.c $(LLAMA_HEADERS) llama/llama.mk
	@mkdir -p $(@D)
	$(CC) $(MODULE_BITCODE_FLAGS) $(LLAMA_FLOATS) $(LLAMA_BITCODE_FLAGS) -Illama -I$(ABI) -emit-llvm -c $< -o $@

$(LLAMA_OUT)/%.bc.wrapped: $(LLAMA_OUT)/%.bc ../bareflow_gdb/build/wrap.py
	$(RUN_PYTHON) -m bareflow_gdb.build.wrap --input $< --output $@ --name $* --entry $*_main

$(LLAMA_OUT)/bitcode.S: $(patsubst %,$(LLAMA_OUT)/%.bc.wrapped,$(LLAMA_KERNELS)) llama/llama.mk
	@for name in $(LLAMA_KERNELS); do \
	  printf '%s\n' .section\ .rodata ".balign 16" ".globl $${name}_bitcode, $${name}_bitcode_end" "$${name}_bitcode:" \
	    ".incbin \"$(LLAMA_OUT)/$$name.bc.wrapped\"" "$${name}_bitcode_end:"; done > $@

$(LLAMA_OUT)/bitcode.o: $(LLAMA_OUT)/bitcode.S
	$(CC) $(TARGET) -c $< -o $@

$(LLAMA_OUT)/text_kinds.inc: ../bareflow_gdb/build/text_kinds.py ../bareflow_gdb/model/pieces.py
	$(RUN_PYTHON) -m bareflow_gdb.build.text_kinds --output $@

$(LLAMA_OUT)/main/%.o: llama/%.c $(LLAMA_HEADERS) $(LLAMA_OUT)/text_kinds.inc $(OUT)/mode
	@mkdir -p $(@D)
	$(CC) $(KERNEL_LIB_CFLAGS) -Illama -I$(LLAMA_OUT) -c $< -o $@

LLAMA_OBJECTS := $(APPLICATION_OBJECTS) $(patsubst llama/%.c,$(LLAMA_OUT)/main/%.o,$(wildcard llama/*.c)) \
  $(foreach level,$(LLAMA_LEVELS),$(patsubst %,$(LLAMA_OUT)/%.$(level).o,$(LLAMA_KERNELS))) $(LLAMA_OUT)/bitcode.o

# The kernel's disk, for the model.
LLAMA_OBJECTS += $(patsubst %,$(OUT)/kernel_lib/kernel/%.o,ata ata_dma disk fat16 model_load)

$(OUT)/llama.elf: $(LLAMA_OBJECTS) $(DEBUG_INTERFACE_OBJECTS) $(KERNEL_LIB) kernel_lib/kernel_lib.ld
	$(TINYLLAMA_LINK) -o $@ $(LLAMA_OBJECTS) $(DEBUG_INTERFACE_OBJECTS) $(KERNEL_LIB)

$(LLAMA_DISK): $(OUT)/llama.elf $(TINYLLAMA_PARTS)
	$(FINISH_TINYLLAMA)

llama: $(LLAMA_DISK)
.PHONY: llama
