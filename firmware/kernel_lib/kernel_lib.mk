# The runtime library kernel_lib.a, and the TinyLlama demo application linked with it into one image.
# tinyllama_bare is the application with the debug interface (root descriptor, exports, event rings) and the kernel's
# adaptive JIT, in whose tables its functions are; tinyllama_nodebug the same without both. firmware/Makefile includes
# this file; `make tinyllama` builds both.
KERNEL_LIB := $(OUT)/kernel_lib/kernel_lib.a
TINYLLAMA_DISK := $(OUT)/tinyllama.img
TINYLLAMA_DISK_SECTORS := 20480

# The kernel's own core, by the library's four parts; small code, for an image that should be small.
KERNEL_LIB_SOURCES := \
  $(addprefix kernel/,serial.c vga.c printf.c keyboard.c) \
  $(addprefix kernel/,heap.c string.c int64.c) \
  $(addprefix kernel/,cpu.c idt.c exception.c pic.c timer.c boot_record.c main.c) kernel_lib/cpu/run.c \
  $(wildcard kernel_lib/jit/*.c)
KERNEL_LIB_OBJECTS := $(patsubst %.c,$(OUT)/kernel_lib/%.o,$(KERNEL_LIB_SOURCES))
APPLICATION_OBJECTS := $(OUT)/kernel/start.asm.o $(OUT)/kernel/vectors.asm.o
DEBUG_INTERFACE_OBJECTS := $(patsubst %,$(OUT)/kernel_lib/%.o,kernel_lib/debug/root kernel_lib/debug/functions \
  $(addprefix kernel/,ring hooks adaptive_jit publish version profiler pools block_table mailbox instructions \
  vector_instructions crc32))
KERNEL_LIB_CFLAGS = $(CFLAGS) -Os -Ikernel_lib

$(OUT)/kernel_lib/%.o: %.c $(wildcard kernel/*.h kernel_lib/*.h) $(wildcard $(ABI)/*.h) $(OUT)/mode
	@mkdir -p $(@D)
	$(CC) $(KERNEL_LIB_CFLAGS) -c $< -o $@

# What runs around each profiled call: fast rather than small.
$(OUT)/kernel_lib/kernel_lib/jit/profile.o: KERNEL_LIB_CFLAGS = $(CFLAGS) -Ikernel_lib

$(KERNEL_LIB): $(KERNEL_LIB_OBJECTS)
	@rm -f $@
	llvm-ar$(LLVM) rcs $@ $^

TINYLLAMA_FUNCTIONS := $(patsubst %,$(OUT)/tinyllama/functions.%.o,O0 O1 O2)
$(OUT)/tinyllama/functions.%.o: tinyllama/functions.c tinyllama/functions.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -$* -DLEVEL=$* -c $< -o $@

$(OUT)/tinyllama/main.o: tinyllama/main.c tinyllama/functions.h $(wildcard kernel/*.h kernel_lib/*.h)
	@mkdir -p $(@D)
	$(CC) $(KERNEL_LIB_CFLAGS) -c $< -o $@

TINYLLAMA_OBJECTS := $(APPLICATION_OBJECTS) $(OUT)/tinyllama/main.o $(TINYLLAMA_FUNCTIONS)
TINYLLAMA_LINK = $(LD) -m elf_i386 -nostdlib --build-id=sha1 -z noexecstack \
  -T kernel_lib/kernel_lib.ld

# The image header's root address is 0 when there is no root descriptor.
$(OUT)/tinyllama_nodebug.elf: $(TINYLLAMA_OBJECTS) $(KERNEL_LIB) kernel_lib/kernel_lib.ld
	$(TINYLLAMA_LINK) --defsym=bareflow_root=0 -o $@ $(TINYLLAMA_OBJECTS) $(KERNEL_LIB)

$(OUT)/tinyllama_bare.elf: $(TINYLLAMA_OBJECTS) $(DEBUG_INTERFACE_OBJECTS) $(KERNEL_LIB) kernel_lib/kernel_lib.ld
	$(TINYLLAMA_LINK) -o $@ $(TINYLLAMA_OBJECTS) $(DEBUG_INTERFACE_OBJECTS) $(KERNEL_LIB)

# 10 MiB, as a disk for the application's own data has room on it.
define FINISH_TINYLLAMA
$(OBJCOPY) -O binary $< $(basename $<).bin
$(RUN_PYTHON) -m bareflow_gdb.build.finish_image --elf $< --kernel $(basename $<).bin \
  --stage1 $(OUT)/stage1.bin --stage2 $(OUT)/stage2.bin --disk $@
truncate -s $$(($(TINYLLAMA_DISK_SECTORS) * 512)) $@
endef

TINYLLAMA_PARTS := $(OUT)/stage1.bin $(OUT)/stage2.bin ../bareflow_gdb/build/finish_image.py
$(TINYLLAMA_DISK): $(OUT)/tinyllama_bare.elf $(TINYLLAMA_PARTS)
	$(FINISH_TINYLLAMA)

$(OUT)/tinyllama_nodebug.img: $(OUT)/tinyllama_nodebug.elf $(TINYLLAMA_PARTS)
	$(FINISH_TINYLLAMA)

tinyllama: $(TINYLLAMA_DISK) $(OUT)/tinyllama_nodebug.img
.PHONY: tinyllama
