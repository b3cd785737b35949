/* Where is the model? On the second disk, or whoever started the machine has put it at BF_WEIGHTS_BASE. */
#include "load.h"

#include "model_load.h"

const char *load_model(const void **base, uint32_t *room) {
    *base = (const void *)BF_WEIGHTS_BASE;
    *room = ram_end() > BF_WEIGHTS_BASE ? ram_end() - BF_WEIGHTS_BASE : 0;
    bool there = model_load() != NULL || model_record->state <= BF_MODEL_STATE_NO_FILE;
    return there ? NULL : model_reason();
}

bool load_has_checked(void) {
    return model_record->state == BF_MODEL_STATE_LOADED;
}
