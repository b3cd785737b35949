/* The host's side of the user-space module test. */
#pragma once

#include "defs.h"

/* machine.c */
_Noreturn void user_exit(uint32_t code);
void user_write(const void *bytes, uint32_t size);
uint32_t user_read(uint32_t file, void *buffer, uint32_t size);
int32_t user_open(const char *path);
void user_map_pools(void);

/* main.c */
_Noreturn void user_main(const uint32_t *stack);
