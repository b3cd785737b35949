/*
 * The packed language model of the second disk, in memory at BF_WEIGHTS_BASE: its first file NAME.BFM (model.h,
 * docs/model-format.md). What became of it is told on COM1 and VGA, and stays in the record behind the boot record.
 */
#pragma once

#include "defs.h"
#include "model.h"

/*
 * Loads it, and compares every part with its CRC. NULL = there is none that can be used: model_record->state says why
 * (enum bf_model_state), model_reason in words. Its size is model_record->bytes; RAM behind it is free.
 */
const struct bf_model_header *model_load(void);
const char *model_reason(void);
