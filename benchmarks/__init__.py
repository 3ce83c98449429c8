"""How fast it is: against obvious implementations, other packages and the hardware.

``make bench`` runs all programs, ``python -m benchmarks NAME ...`` some of them; with ``--quick``
they take a few seconds each, to see that they work. Every program prints a table and leaves a JSON
file in ``results/bench``. Its figures are worth something on a machine without other work only: the
load is written beside them.
"""
