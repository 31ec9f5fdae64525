"""The page of a training run: one static HTML file without scripts, updated while it trains."""
