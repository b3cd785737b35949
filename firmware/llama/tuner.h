/* Is a kernel's new code faster than what it replaced? */
#pragma once

/* Between two tokens of an answer. Code that the application asked for and that is slower is rolled back. */
void tuner_token_done(void);
/* What was begun is no whole token. */
void tuner_begin(void);
