"""Which modules are loaded, and is a module's header right?"""
