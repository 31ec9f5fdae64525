"""Papers' tables, measured again: their numbers beside ours, under their protocols."""
