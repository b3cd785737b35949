/*
 * The packed language model of the second disk, in memory at BF_WEIGHTS_BASE: its first file NAME.BFM (model.h,
 * docs/model-format.md). What became of it is told on COM1 and VGA, and stays in the boot record.
 */
#pragma once

#include "defs.h"
#include "model.h"

/*
 * Loads it, and compares every part with its CRC. NULL = there is none that can be used: boot_record->model_state says why
 * (enum bf_model_state), model_reason in words. Its size is boot_record->model_bytes; RAM behind it is free.
 */
const struct bf_model_header *model_load(void);
const char *model_reason(void);
