"""What may be ordered about a function's swaps, in words?"""

VETO, ALLOW, FORCE, ROLLBACK = "veto", "allow", "force", "rollback"
ACTIONS = (VETO, ALLOW, FORCE, ROLLBACK)
STANDING = (VETO, ALLOW)
"""Words that the guest reads before each swap; the others it carries out once."""
WAIT_SECONDS = 15.0
"""How long the guest's answer is waited for."""
