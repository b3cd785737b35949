"""Which faults can a swap have? Each as what a faulty kernel, compiler or host leaves in memory, events and log."""

from __future__ import annotations

import swap_faults_of_code
import swap_faults_of_tables

FAULTS = (*swap_faults_of_code.FAULTS, *swap_faults_of_tables.FAULTS)
