"""Floor 1: homomorphic encryption, as pure functions on arrays. No parties here.

- ``ciphertext``: what all schemes share: which ciphertexts may be added, and how they travel
"""
