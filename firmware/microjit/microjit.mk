# The micro-JIT, an archive: the kernel gets it when it calls it. firmware/Makefile includes this file.
MICROJIT := $(OUT)/microjit/libmicrojit.a
MICROJIT_OBJECTS := $(patsubst microjit/%.c,$(OUT)/microjit/%.o,$(wildcard microjit/*.c))
CFLAGS += -Imicrojit
KERNEL_LIBRARIES += $(MICROJIT)

$(OUT)/microjit/%.o: microjit/%.c microjit/microjit.h $(wildcard kernel/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c $< -o $@

$(MICROJIT): $(MICROJIT_OBJECTS)
	@rm -f $@
	llvm-ar$(LLVM) rcs $@ $^
