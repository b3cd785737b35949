"""How are the same questions answered by kernels that have no debug interface, no types, maybe no symbols?"""
