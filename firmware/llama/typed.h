/* What a person types, on the keyboard or on COM1. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Takes what has come since; `echo`: shows it on the console. Waits for nothing. */
void typed_look(bool echo);
/* The next line that is not empty, without its end: its bytes, 0 = none has been ended yet. Room for MOST_TEXT. */
uint32_t typed_line(char *line);
/* Was Esc (keyboard) or Ctrl-C (COM1) pressed since it was asked last? */
bool typed_stop(void);
