# The micro-JIT inside the kernel. firmware/Makefile includes this file and links $(MICROJIT_OBJECTS).
MICROJIT_OBJECTS := $(patsubst microjit/%.c,$(OUT)/microjit/%.o,$(wildcard microjit/*.c))
CFLAGS += -Imicrojit

$(OUT)/microjit/%.o: microjit/%.c microjit/microjit.h $(wildcard kernel/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c $< -o $@
