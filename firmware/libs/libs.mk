# The two library archives: the llvm-libc subset and the C++ runtime. firmware/Makefile includes this file.
# Each file becomes one archive member, so that a program gets only the functions it calls.
CLANG := clang$(LLVM)
CLANGXX := clang++$(LLVM)
LLVM_AR := llvm-ar$(LLVM)

# Every tier and library keeps EBP frames; SSE and MMX are not there in the guest's i686.
I686 := --target=i686-unknown-none-elf -march=i686 -mno-sse -mno-mmx -fno-omit-frame-pointer -ffreestanding
LIB_WARNINGS := -Wall -Wextra -Werror

LLVMLIBC := $(OUT)/libs/libllvmlibc.a
LLVMLIBC_OBJECTS := $(patsubst libs/llvmlibc/%.c,$(OUT)/libs/llvmlibc/%.o,$(wildcard libs/llvmlibc/*.c))

$(OUT)/libs/llvmlibc/%.o: libs/llvmlibc/%.c $(wildcard libs/llvmlibc/*.h)
	@mkdir -p $(@D)
	$(CLANG) $(I686) -std=c11 -O2 -fno-builtin $(LIB_WARNINGS) -c $< -o $@

$(LLVMLIBC): $(LLVMLIBC_OBJECTS)
	@rm -f $@
	$(LLVM_AR) rcs $@ $^

CXX_RUNTIME := $(OUT)/libs/libcxxrt.a
CXX_OBJECTS := $(patsubst libs/cxx/%.cpp,$(OUT)/libs/cxx/%.o,$(wildcard libs/cxx/*.cpp))

$(OUT)/libs/cxx/%.o: libs/cxx/%.cpp $(wildcard libs/cxx/*.h) libs/libs.mk
	@mkdir -p $(@D)
	$(CLANGXX) $(I686) -mno-80387 -std=c++17 -O2 -g -fno-builtin -fno-exceptions -fno-rtti $(LIB_WARNINGS) \
	  -ffile-prefix-map=$(abspath ..)/= -c $< -o $@

$(CXX_RUNTIME): $(CXX_OBJECTS)
	@rm -f $@
	$(LLVM_AR) rcs $@ $^

CFLAGS += -Ilibs/cxx
KERNEL_LIBRARIES += $(CXX_RUNTIME) $(LLVMLIBC)
