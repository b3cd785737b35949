"""The questions, one a file: arguments, ask, view, verdict. Both interfaces, tests and documents are made of them."""
