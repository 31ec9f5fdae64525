"""Training methods, one file each, over one trainer."""
