/* How many tokens a second, at each tier of the matrix product? */
#pragma once

#include <stdint.h>

void speed_begin(void);
/* A token is done. */
void speed_count(void);
void speed_print(void);
