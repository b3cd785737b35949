# Defects that must be compiled, one image each: firmware/museum/defects.toml. firmware/Makefile includes this file.
#   make museum            all of them, in $(OUT)/museum; ONLY=NAME builds one
museum: all
	$(PYTHON) museum/workshop.py $(OUT) $(ONLY)
.PHONY: museum
