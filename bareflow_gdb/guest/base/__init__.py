"""What every other room of `guest/` stands on: single values, reading tables, the root descriptor, the clock."""
