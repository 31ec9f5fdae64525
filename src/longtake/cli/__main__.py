"""``python -m longtake.cli``, as torchrun needs it."""

from longtake.cli import main

main()
