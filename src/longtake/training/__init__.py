"""Training of autoencoders and denoisers: one trainer, one file a method."""
