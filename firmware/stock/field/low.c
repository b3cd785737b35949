/* A kernel at 0x1000 has to fit below stage 1: no images, no cache, no variants, no disk. */
#include "stock.h"

const module_image_t embedded_modules[1];
const uint32_t embedded_module_count = 0;
const char __bitcode_stub[4];
