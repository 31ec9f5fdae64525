"""From a folder of videos to a model within a time budget: ordinary runs, one after another."""
