/* The kernel's CRC-32, for what is also built without the kernel. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t crc32_more(uint32_t crc, const void *data, size_t size);
