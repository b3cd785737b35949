"""Answers that need the whole story: swaps, latencies, whether log and ring agree, and reports of a trace."""
