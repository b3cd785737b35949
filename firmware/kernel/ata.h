/* What the disk's driver and its bus master say to each other. */
#pragma once

#include "disk.h"

#define DMA_MOST_SECTORS 2048           /* of one command: a megabyte */

/* ata_dma.c */
bool dma_find(void);                    /* false = there is no bus master */
bool dma_takes(const void *buffer, uint32_t sectors);
void dma_prepare(void *buffer, uint32_t sectors);
void dma_start(void);                   /* after the disk has its command */
bool dma_active(void);
bool dma_stop(void);                    /* false = it ended early, or could not reach memory */
