"""A trace as one self-contained HTML page and as a text summary."""
