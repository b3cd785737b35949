"""How far did the boot get, and which code are its stages?"""
