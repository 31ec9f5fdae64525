"""The page of a run: one static HTML file without scripts, readable while training goes."""
