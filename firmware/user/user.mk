# The module system's tests as an i686 Linux program without a C library. firmware/Makefile includes this file.
USER_TEST := $(OUT)/user/module_test
USER_KERNEL := module module_image instructions vector_instructions module_test pools pools_test block_table crc32 sha256 string printf int64
USER_OBJECTS := $(patsubst %,$(OUT)/user/%.o,machine main start) $(patsubst %,$(OUT)/kernel/%.o,$(USER_KERNEL))

$(OUT)/user/%.o: user/%.c user/user.h $(wildcard kernel/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Iuser -c $< -o $@

$(OUT)/user/start.o: user/start.S
	@mkdir -p $(@D)
	$(CC) $(TARGET) -c $< -o $@

# Above the pools' addresses, which the program maps for itself.
$(USER_TEST): $(USER_OBJECTS) $(MODULE_OUT)/embedded.o
	$(LD) -m elf_i386 -static -nostdlib -z noexecstack --image-base=0x8048000 -o $@ $^

all: $(USER_TEST)

.PHONY: test-user
test-user: $(USER_TEST)
	$(USER_TEST)

.PHONY: test-interface
test-interface: $(USER_TEST) $(MODULE_BITCODE)
	$(RUN_PYTHON) -m bareflow_gdb.build.test_interface --directory $(MODULE_OUT) --program $(USER_TEST) $(MODULES)
