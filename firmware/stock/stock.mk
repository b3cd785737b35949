# The stock variants: kernels as they are in the field, to try the suite on. firmware/Makefile includes this file.
#   make stock      all of it, in $(OUT)/stock/:
#     stock.img/.elf                  the kernel with the adaptive JIT; stock_disk.img is a FAT16 disk for it
#     stock_unikernel.img/.elf        the runtime library with the TinyLlama demo
#     stock_interactive.img/.elf      the kernel, waiting for keys: before the tests, the statistics and the run
#     stock76.img/.elf, stock72…      the kernel with older module profiles, other bitcode headers, and no cache
#     stock_twin.elf, stock_unikernel_twin.elf    the same code with debug information
#     stock_stripped.elf, stock_unikernel_stripped.elf    without the symbol table
STOCK_OUT := $(OUT)/stock

# Sectors that the stock loaders read: fixed, as the image does not say its size.
STOCK_SECTORS ?= 128
STOCK_UNIKERNEL_SECTORS ?= 48

STOCK_CFLAGS := $(TARGET) -mno-80387 -std=gnu17 -ffreestanding -fno-builtin -fno-pic -fno-stack-protector -O2 \
  -Wall -Wextra -Werror -Wmissing-prototypes -Istock -Ikernel -I$(ABI) -Itinyllama
STOCK_HEADERS := stock/variants.mk $(wildcard stock/*.h stock/unikernel/*.h tinyllama/*.h kernel/*.h) $(wildcard $(ABI)/*.h)

# ---- Module images: the modules' own sources as position-independent code, in one piece with their data ----
STOCK_MODULES := sum fibonacci compute primes
STOCK_DISK_MODULES := matrix_mul gemm_tile primes
STOCK_MODULE_OUT := $(STOCK_OUT)/modules
STOCK_IMAGES := $(foreach name,$(STOCK_MODULES),$(MODULE_LEVELS:%=$(STOCK_MODULE_OUT)/$(name).O%.mod))

# Each level unrolls more, so that no two levels of a function are the same code.
STOCK_LEVEL_2 := -mllvm -unroll-count=2
STOCK_LEVEL_3 := -mllvm -unroll-count=4
define stock_module_level
$(STOCK_MODULE_OUT)/%.O$(1).o: modules/%.c stock/stock.mk
	@mkdir -p $$(@D)
	$$(CC) $$(TARGET) -std=gnu17 -ffreestanding -fno-builtin -fpie -fvisibility=hidden -ffunction-sections \
	  -fno-omit-frame-pointer -Wall -Wextra -Werror -O$(1) $(STOCK_LEVEL_$(1)) -c $$< -o $$@
	$$(OBJCOPY) --rename-section .text.$$*_main=.text.entry $$@
	@if llvm-readelf$$(LLVM) -r $$@ | grep -qw R_386_32; then \
	  echo "$$@ has absolute references: a stock module must be position-independent"; exit 1; fi

$(STOCK_MODULE_OUT)/%.O$(1).mod: $(STOCK_MODULE_OUT)/%.O$(1).o $(STOCK_MODULE_OUT)/%.header.o stock/modules/module.ld
	$$(LD) -m elf_i386 -nostdlib -z noexecstack -T stock/modules/module.ld -o $$@.elf $$(filter %.o,$$^)
	$$(OBJCOPY) -O binary $$@.elf $$@
endef
$(foreach level,$(MODULE_LEVELS),$(eval $(call stock_module_level,$(level))))

$(STOCK_MODULE_OUT)/%.header.o: stock/modules/header.S
	@mkdir -p $(@D)
	$(CC) $(TARGET) -DMODULE_NAME='"$*"' -c $< -o $@

# The wrapper's header has four reserved words; stock ones have two, three or four.
$(STOCK_MODULE_OUT)/primes.bc.%: $(MODULE_OUT)/primes.bc.wrapped
	@mkdir -p $(@D)
	{ head -c $* $<; tail -c +129 $<; } > $@

# ---- Builds: one set of sources with some flags. Only the last group differs between generations. ----
STOCK_SHARED := $(addprefix kernel/,string int64 printf vga pic cpu idt) $(addprefix stock/,heap pools exception)
STOCK_JIT := $(addprefix stock/,serial cache ata fat16 disk profiler adaptive_jit)
STOCK_GENERATION := $(addprefix stock/,main module bitcode keyboard images)
STOCK_DEMO := stock/serial $(addprefix stock/unikernel/,main jit_profile) tinyllama/functions
STOCK_ASSEMBLY := $(STOCK_OUT)/start.asm.o $(STOCK_OUT)/vectors.asm.o

# $(call stock_build,NAME,FLAGS)
STOCK_BITCODE := $(foreach bytes,120 124 128,$(STOCK_MODULE_OUT)/primes.bc.$(bytes))
define stock_build
$(STOCK_OUT)/$(1)/%.o: %.c $(STOCK_HEADERS) stock/stock.mk
	@mkdir -p $$(@D)
	$$(CC) $$(STOCK_CFLAGS) $(2) -c $$< -o $$@

$(STOCK_OUT)/$(1)/%.o: %.S $(STOCK_IMAGES) $(STOCK_BITCODE) stock/stock.mk
	@mkdir -p $$(@D)
	$$(CC) $$(TARGET) $(2) -I$(STOCK_MODULE_OUT) -c $$< -o $$@
endef
# Arguments and results of modules: NAME:A:B:EXPECTED here, -DMODULE_NAME=A,B,EXPECTED for the sources.
STOCK_CASES := $(sort $(MODULES) matrix_mul:16:0:365 gemm_tile:7:1:-635)
STOCK_CFLAGS += $(shell printf '%s\n' $(STOCK_CASES) | sed 's/^\([^:]*\):\(.*\)/-DMODULE_\1=\2/; y/:/,/')
STOCK_NOW := -DSTOCK_PROFILE_BYTES=84 -DSTOCK_BITCODE_BYTES=120
STOCK_DEMO_FLAGS := -DSERIAL_DIVISOR=3 -DLEVEL=O2
STOCK_DEBUG := -g -ffile-prefix-map=$(abspath ..)/=
$(eval $(call stock_build,plain,$(STOCK_NOW)))
$(eval $(call stock_build,twin,$(STOCK_NOW) $(STOCK_DEBUG)))
$(eval $(call stock_build,interactive,$(STOCK_NOW) -DINTERACTIVE=1))
$(eval $(call stock_build,76,-DSTOCK_PROFILE_BYTES=76 -DSTOCK_BITCODE_BYTES=124 -DSTOCK_NO_CACHE))
$(eval $(call stock_build,72,-DSTOCK_PROFILE_BYTES=72 -DSTOCK_BITCODE_BYTES=128 -DSTOCK_NO_CACHE))
$(eval $(call stock_build,demo,$(STOCK_DEMO_FLAGS)))
$(eval $(call stock_build,demo_twin,$(STOCK_DEMO_FLAGS) $(STOCK_DEBUG)))

$(STOCK_OUT)/%.asm.o: $(OUT)/abi.inc
	@mkdir -p $(@D)
	$(NASM) -f elf32 -Wall -Werror -i $(OUT)/ -o $@ $(filter %.asm,$^)

$(STOCK_OUT)/start.asm.o: stock/start.asm
$(STOCK_OUT)/vectors.asm.o: kernel/vectors.asm

# ---- Kernels. $(call stock_elf,NAME,OBJECTS) ----
stock_objects = $(patsubst %,$(STOCK_OUT)/$(1)/%.o,$(2))
define stock_elf
$(STOCK_OUT)/$(1).elf: stock/stock.ld $(STOCK_ASSEMBLY) $(2)
	$$(LD) -m elf_i386 -nostdlib -z noexecstack -T $$^ -o $$@
endef
stock_kernel_objects = $(call stock_objects,$(1),$(STOCK_GENERATION)) \
  $(call stock_objects,$(2),$(STOCK_SHARED) $(STOCK_JIT))
stock_demo_objects = $(call stock_objects,$(1),$(STOCK_DEMO)) $(call stock_objects,$(2),$(STOCK_SHARED))
$(eval $(call stock_elf,stock,$(call stock_kernel_objects,plain,plain)))
$(eval $(call stock_elf,stock_twin,$(call stock_kernel_objects,twin,twin)))
$(eval $(call stock_elf,stock_interactive,$(call stock_kernel_objects,interactive,plain)))
$(eval $(call stock_elf,stock76,$(call stock_kernel_objects,76,plain)))
$(eval $(call stock_elf,stock72,$(call stock_kernel_objects,72,plain)))
$(eval $(call stock_elf,stock_unikernel,$(call stock_demo_objects,demo,plain)))
$(eval $(call stock_elf,stock_unikernel_twin,$(call stock_demo_objects,demo_twin,twin)))

$(STOCK_OUT)/%_stripped.elf: $(STOCK_OUT)/%.elf
	$(OBJCOPY) --strip-all $< $@

# ---- Disks ----
STOCK_BOOT := $(wildcard stock/boot/* boot/*) $(OUT)/abi.inc
$(STOCK_OUT)/stage1.bin: boot/stage1.asm $(STOCK_BOOT)
	@mkdir -p $(@D)
	$(NASM) -f bin -Wall -Werror -i stock/boot/ -i boot/ -i $(OUT)/ -o $@ $<

$(STOCK_OUT)/stage2.%.bin: stock/boot/stage2.asm $(STOCK_BOOT)
	@mkdir -p $(@D)
	$(NASM) -f bin -Wall -Werror -i stock/boot/ -i boot/ -i $(OUT)/ -DSECTORS=$* -o $@ $<

# $(call stock_disk,NAME,SECTORS): as long as a floppy, which it can be booted as.
define stock_disk
$(STOCK_OUT)/$(1).img: $(STOCK_OUT)/$(1).elf $(STOCK_OUT)/stage1.bin $(STOCK_OUT)/stage2.$(2).bin
	@rm -f $$@
	$$(OBJCOPY) -O binary $$< $(STOCK_OUT)/$(1).bin
	@size=$$$$(stat -c %s $(STOCK_OUT)/$(1).bin); needed=$$$$((($$$$size + 511) / 512)); \
	if [ $$$$needed -gt $(2) ]; then \
	  echo "$(1): the image needs $$$$needed sectors, its loader reads $(2): make the kernel smaller"; exit 1; fi; \
	echo "$(1): $$$$size bytes, $$$$needed of $(2) sectors"
	cat $(STOCK_OUT)/stage1.bin $(STOCK_OUT)/stage2.$(2).bin $(STOCK_OUT)/$(1).bin > $$@.part
	truncate -s 1474560 $$@.part
	mv $$@.part $$@
endef
STOCK_KERNELS := stock stock_interactive stock76 stock72
$(foreach name,$(STOCK_KERNELS),$(eval $(call stock_disk,$(name),$(STOCK_SECTORS))))
$(eval $(call stock_disk,stock_unikernel,$(STOCK_UNIKERNEL_SECTORS)))

STOCK_DISK_FILES := $(STOCK_DISK_MODULES:%=$(STOCK_MODULE_OUT)/%.O0.mod) disk/TEST.TXT disk/README.TXT
$(STOCK_OUT)/stock_disk.img: $(STOCK_DISK_FILES) ../bareflow_gdb/build/fat_image.py stock/stock.mk
	$(RUN_PYTHON) -m bareflow_gdb.build.fat_image --output $@ $(STOCK_DISK_FILES)

stock: $(STOCK_OUT)/stock_disk.img $(patsubst %,$(STOCK_OUT)/%.img,$(STOCK_KERNELS) stock_unikernel) \
  $(patsubst %,$(STOCK_OUT)/%.elf,stock_twin stock_unikernel_twin stock_stripped stock_unikernel_stripped)
.PHONY: stock

include stock/variants.mk
stock: stock-variants
