# Defects that must be compiled, one image each: firmware/museum/defects.toml. firmware/Makefile includes this file.
#   make museum            all of them, in $(OUT)/museum; DEFECT=NAME builds one
DEFECT ?=

museum: all
	$(PYTHON) museum/workshop.py $(OUT) $(DEFECT)
.PHONY: museum
