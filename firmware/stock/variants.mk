# Stock kernels as others build them: each variant is the stock kernel with some files compiled or linked otherwise.
# stock.mk includes this file.
#   make stock-variants      $(OUT)/stock/NAME.img and .elf, each also NAME_stripped.elf:
#     field_pools       another allocator: a list of all blocks, statistics without headers, a shutdown
#     field_microjit    the same, and a micro-JIT without prologue that writes EBX; one function, 150 calls
#     field_modules     headers in .rodata, stubs with claimed sizes, cached images with size 0, two without header
#     field_bare        no interrupt table, no function cpu_halt, code at 0x10008 that looks like an address
#     field_demo1/2/3   the unikernel, whose minima are all preset, with so many functions
#     field_moved       the same, linked at 0x1000 and loaded at 0x10000
#     field_cut/_page   the loader reads too few sectors: .rodata is cut off, or only the last page
#     field_low         linked at and loaded to 0x1000
#     field_wide        16 MiB of .bss, over the stack and the screen, and the tables behind
#     field_over        .bss that ends above the stack pointer
#     field_frames      -fomit-frame-pointer with .eh_frame; field_frameless: the same code without
#     field_turned      the adaptive run first, the modules last
FIELD_KERNELS := field_pools field_microjit field_modules field_bare field_low field_wide field_over field_frames \
  field_frameless field_turned
FIELD_DEMOS := field_demo1 field_demo2 field_demo3
FIELD_IMAGES := $(FIELD_KERNELS) $(FIELD_DEMOS) field_moved field_cut field_page

FIELD_BARE := -DFIELD_NO_IDT -Dcpu_halt=stop_for_good
FIELD_BARE_OBJECTS := kernel/string kernel/int64 kernel/printf kernel/vga stock/heap stock/serial
$(eval $(call stock_build,f_pools,$(STOCK_NOW) -DFIELD_POOLS))
$(eval $(call stock_build,f_microjit,$(STOCK_NOW) -DFIELD_POOLS -DFIELD_JIT -DSTOCK_NO_CACHE))
$(eval $(call stock_build,f_modules,$(STOCK_NOW) -DFIELD_MODULES))
$(eval $(call stock_build,f_bare,$(STOCK_NOW) -DFIELD_POOLS -DFIELD_JIT $(FIELD_BARE)))
$(eval $(call stock_build,f_low,$(STOCK_NOW) -DFIELD_POOLS -DFIELD_JIT -DFIELD_MODULES $(FIELD_BARE)))
$(eval $(call stock_build,f_wide,-DFILLER=0x1000000))
$(eval $(call stock_build,f_over,-DFILLER=0x40000))
$(eval $(call stock_build,f_frames,$(STOCK_NOW) -fomit-frame-pointer -fasynchronous-unwind-tables))
$(eval $(call stock_build,f_turned,$(STOCK_NOW) -DFIELD_POOLS -DFIELD_JIT -DFIELD_TURNED))
$(foreach count,1 2 3,$(eval $(call stock_build,f_demo$(count),-DSERIAL_DIVISOR=3 -DLEVEL=O2 -DFIELD_DEMOS=$(count))))

$(STOCK_OUT)/%.field.asm.o: stock/start.asm $(OUT)/abi.inc
	$(NASM) -f elf32 -Wall -Werror -i $(OUT)/ -DFIELD_ENTRY -o $@ $<

$(STOCK_OUT)/%.kept.asm.o: stock/start.asm $(OUT)/abi.inc
	$(NASM) -f elf32 -Wall -Werror -i $(OUT)/ -DFIELD_KEEP_BSS -o $@ $<

# $(call field_objects,DIRECTORY,FILES THAT DIFFER,FILES OF THE PLAIN BUILD): what is given first is left out there.
field_objects = $(call stock_objects,$(1),$(2)) $(call stock_objects,plain,$(filter-out $(2),$(3)))
FIELD_PLAIN := $(STOCK_GENERATION) $(STOCK_SHARED) $(STOCK_JIT)
# $(call field_elf,NAME,START,OBJECTS,LINKER FLAGS,SCRIPT)
define field_elf
$(STOCK_OUT)/$(1).elf: $(or $(5),stock/stock.ld) $(addprefix $(STOCK_OUT)/,$(2)) $(3)
	$$(LD) -m elf_i386 -nostdlib -z noexecstack $(4) -T $$^ -o $$@
endef
without = $(filter-out $(1),$(FIELD_PLAIN))
START := start.asm.o vectors.asm.o
FIELD_JIT_FILES := stock/field/adaptive_jit stock/field/pools
NO_IDT := kernel/idt kernel/pic stock/exception
$(eval $(call field_elf,field_pools,$(START),$(call field_objects,f_pools,stock/main stock/field/pools,\
  $(call without,stock/pools))))
$(eval $(call field_elf,field_microjit,$(START),$(call field_objects,f_microjit,stock/main $(FIELD_JIT_FILES),\
  $(call without,stock/pools stock/adaptive_jit))))
$(eval $(call field_elf,field_modules,$(START),$(call field_objects,f_modules,stock/main stock/field/modules \
  stock/field/module,$(FIELD_PLAIN))))
$(eval $(call field_elf,field_bare,bare.field.asm.o,$(call field_objects,f_bare,stock/main kernel/cpu \
  stock/field/no_idt $(FIELD_JIT_FILES),$(call without,stock/pools stock/adaptive_jit $(NO_IDT)))))
$(eval $(call field_elf,field_low,start.asm.o,$(call field_objects,f_low,stock/main kernel/cpu stock/field/no_idt \
  stock/field/low stock/field/modules stock/field/module $(FIELD_JIT_FILES),\
  $(call without,stock/pools stock/adaptive_jit stock/images $(NO_IDT))),--defsym=link_base=0x1000))
$(eval $(call field_elf,field_wide,$(START),$(call field_objects,f_wide,stock/field/filler,$(FIELD_PLAIN))))
$(eval $(call field_elf,field_over,$(START),$(call field_objects,f_over,stock/field/filler,$(FIELD_PLAIN))))
$(eval $(call field_elf,field_frames,$(START),$(call field_objects,f_frames,$(FIELD_PLAIN),),,\
  $(STOCK_OUT)/frames.ld))
$(STOCK_OUT)/frames.ld: stock/stock.ld
	sed 's/ \.eh_frame / /' $< > $@
$(eval $(call field_elf,field_turned,$(START),$(call field_objects,f_turned,stock/main $(FIELD_JIT_FILES),\
  $(call without,stock/pools stock/adaptive_jit))))
FIELD_DEMO_FILES := stock/field/demo stock/unikernel/jit_profile tinyllama/functions stock/serial
field_demo_objects = $(call field_objects,$(1),$(FIELD_DEMO_FILES),kernel/string kernel/int64 kernel/printf kernel/vga)
$(foreach count,1 2 3,$(eval $(call field_elf,field_demo$(count),start.asm.o,\
  $(call field_demo_objects,f_demo$(count)))))
$(eval $(call field_elf,field_moved,moved.kept.asm.o,$(call field_demo_objects,f_demo3),--defsym=link_base=0x1000))

$(STOCK_OUT)/field_frameless.elf: $(STOCK_OUT)/field_frames.elf
	$(OBJCOPY) --remove-section=.eh_frame $< $@
$(STOCK_OUT)/field_cut.elf $(STOCK_OUT)/field_page.elf: $(STOCK_OUT)/stock.elf
	cp $< $@

# $(call field_disk,NAME,SECTORS,LOAD): without the check of stock_disk, for some are too long on purpose.
define field_disk
$(STOCK_OUT)/$(1).img: $(STOCK_OUT)/$(1).elf $(STOCK_OUT)/stage1.bin $(STOCK_BOOT)
	$$(OBJCOPY) -O binary $$< $(STOCK_OUT)/$(1).bin
	$(NASM) -f bin -Wall -Werror -i stock/boot/ -i boot/ -i $(OUT)/ -DSECTORS=$(2) -DLOAD=$(3) -o $$@.stage2 \
	  stock/boot/stage2.asm
	cat $(STOCK_OUT)/stage1.bin $$@.stage2 $(STOCK_OUT)/$(1).bin > $$@.part
	truncate -s 1474560 $$@.part
	mv $$@.part $$@
endef
$(foreach name,$(filter-out field_low,$(FIELD_KERNELS)) $(FIELD_DEMOS) field_moved,\
  $(eval $(call field_disk,$(name),$(STOCK_SECTORS),0x10000)))
$(eval $(call field_disk,field_low,48,0x1000))
$(eval $(call field_disk,field_cut,28,0x10000))
$(eval $(call field_disk,field_page,$$$$(($$$$(stat -c %s $(STOCK_OUT)/field_page.bin) / 512 - 7)),0x10000))

stock-variants: $(FIELD_IMAGES:%=$(STOCK_OUT)/%.img) $(FIELD_IMAGES:%=$(STOCK_OUT)/%_stripped.elf)
.PHONY: stock-variants
