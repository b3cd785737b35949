/* How many tokens a second, at each tier of the matrix product? */
#pragma once

#include <stdint.h>

#include "bareflow.h"

/* Counts in told->speed. */
void speed_begin(struct bf_inference *told);
/* A token is done. */
void speed_count(void);
void speed_print(void);
