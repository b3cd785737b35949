# The second disk, and the cache of optimised modules. firmware/Makefile includes this file after modules.mk.
#   $(OUT)/fat16.img   every module: NAME.MOD (O0), .O1 .O2 .O3 (tiers), .BC (bitcode); TEST.TXT, README.TXT
#   make CACHE=DIR     builds the module images of DIR (cache/i686/PROFILE) into the kernel
DISK_FILES := $(MODULE_IMAGES) $(MODULE_BITCODE) disk/TEST.TXT disk/README.TXT
DISK_IMAGE := $(OUT)/fat16.img

$(DISK_IMAGE): $(DISK_FILES) ../bareflow_gdb/build/fat_image.py disk.mk
	$(RUN_PYTHON) -m bareflow_gdb.build.fat_image --output $@ $(DISK_FILES)

all: $(DISK_IMAGE)

ifdef CACHE
MODULE_OBJECTS += $(OUT)/cache_registry.o

$(OUT)/cache_registry.c: $(wildcard $(CACHE)/*.mod) $(OUT)/cache ../bareflow_gdb/build/registry.py
	$(RUN_PYTHON) -m bareflow_gdb.build.registry --cache $(CACHE) --output $@

$(OUT)/cache_registry.o: $(OUT)/cache_registry.c
	$(CC) $(CFLAGS) -c $< -o $@
endif

# Changes only when what is cached does, so that the kernel is linked anew then.
$(OUT)/cache: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(CACHE) $(notdir $(wildcard $(CACHE)/*.mod)) | cmp -s - $@ || \
	  printf '%s\n' $(CACHE) $(notdir $(wildcard $(CACHE)/*.mod)) > $@

$(OUT)/kernel.elf: $(OUT)/cache
