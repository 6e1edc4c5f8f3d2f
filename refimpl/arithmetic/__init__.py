"""Floor 0: the numbers that every other floor computes with.

- ``ring``: integers modulo 2^b, b <= 64, and their dense packing for the wire
- ``field``: the prime field of 2^61 - 1
- ``fixed_point``: real numbers as integers whose sums cannot overflow
- ``checks``: one check for whole-number arguments
- ``randomness``: cryptographic random arrays, and seeded ones for teaching
"""
