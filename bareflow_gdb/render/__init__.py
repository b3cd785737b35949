"""How does a record become text, a picture, JSON? Only records are known here, not where they come from."""
