"""What may be ordered about a function's swaps, in words?"""

VETO, ALLOW, FORCE, ROLLBACK = "veto", "allow", "force", "rollback"
ACTIONS = (VETO, ALLOW, FORCE, ROLLBACK)
STANDING = (VETO, ALLOW)
"""Words that the guest reads before each swap; the others it carries out once."""
LOAD, UNLOAD, RELOAD, REGISTER = "load", "unload", "reload", "register"
MODULE_ACTIONS = (LOAD, UNLOAD, RELOAD, REGISTER)
"""What may be ordered of a module."""
WAIT_SECONDS = 15.0
"""How long the guest's answer is waited for."""
